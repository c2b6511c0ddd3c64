"""What a running job shows: a line for each finished stage, and how far the present one is.

Progress goes to standard error, results to standard output, so that `--json` can be piped. The
worker may be in another process or on another machine: progress is read from the workspace.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from infra.storage.artifact import Artifact
from infra.storage.stage_dir import PROGRESS, read_progress
from infra.storage.workspace import Workspace
from pipeline.run import edition_of

INTERVAL_S = 0.5
LINE_EVERY_S = 10.0
"""Without a terminal, a line of progress is printed this often."""


class StageWatch:
    """Shows the stages of a run as they pass."""

    def __init__(self, workspace: Workspace, *, quiet: bool = False) -> None:
        self.workspace = workspace
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.status = self.console.status("") if self.console.is_terminal else None
        self.started = time.monotonic()
        self.current: tuple[str, str, float] | None = None
        self.made: dict[str, dict[str, Artifact]] = {}
        """Outputs so far, by edition and stage; of several attempts the last one's."""
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> StageWatch:
        if self.status:
            self.status.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        if self.status:
            self.status.stop()
        self.console.print(f"all stages {time.monotonic() - self.started:12.1f} s")

    def begin(self, stage: str, version: str) -> None:
        """A stage begins."""
        self.current = (stage, version, time.monotonic())

    def end(self, artifact: Artifact) -> None:
        """A stage's output is there."""
        assert self.current is not None
        stage, version, started = self.current
        took = time.monotonic() - started
        self.current = None
        self.made.setdefault(edition_of(version), {})[stage] = artifact
        found = "" if artifact.made_now else "  [dim](found)[/]"
        counts = ", ".join(f"{key} {_brief(value)}" for key, value in artifact.counts.items())
        self.console.print(
            f"[bold]{version}[/] {stage:<9} {took:6.1f} s  {counts}{found}", soft_wrap=True
        )

    def _watch(self) -> None:
        last_line = time.monotonic()
        while not self.stopped.wait(INTERVAL_S):
            if self.current is None:
                continue
            stage, version, started = self.current
            took = time.monotonic() - started
            text = f"{version} {stage} {took:.0f} s {self._progress(stage, version)}"
            if self.status:
                self.status.update(text)
            elif took > 2 and time.monotonic() - last_line > LINE_EVERY_S:
                last_line = time.monotonic()
                self.console.print(f"... {text}", soft_wrap=True)

    def _progress(self, stage: str, version: str) -> str:
        path = self.workspace.directory(stage, f"{version}.partial") / PROGRESS
        state = read_progress(path)
        return f"{state['done']}/{state['total']} {state['text']}" if state else ""


def _brief(value: Any) -> str:
    """A count, or the largest few of a mapping of counts."""
    if isinstance(value, Mapping):
        top = sorted(value.items(), key=lambda item: -item[1] if isinstance(item[1], int) else 0)
        return " / ".join(f"{n} {name}" for name, n in top[:4]) or "none"
    if isinstance(value, str) and len(value) > 12:
        return value[:12]
    return str(value)
