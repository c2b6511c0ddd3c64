"""What a running job prints: one sentence for each finished stage, and how far the present one is.

Progress goes to standard error and results to standard output, so that `--json` can be piped. On a
terminal the present stage has a progress bar; a log has plain lines only. Workers may run in other
processes or on other machines, so progress is read from the workspace's files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from infra.display import Terminal, line
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import PROGRESS, WAITS, read_progress
from infra.storage.workspace import Workspace
from infra.telemetry.waits import read_waits
from jobs.terminal.sentences import sentence
from jobs.terminal.words import DOING, brief, duration, phase
from pipeline.config import RETRY
from pipeline.preflight.preflight import Preflight
from pipeline.queries.summary import details
from pipeline.run import edition_of

INTERVAL_S = 0.5
"""Seconds between two readings of the progress file."""
LINE_EVERY_S = 10.0
"""Least number of seconds between two lines of progress in a log."""
WAIT_S = 2.0
"""Seconds after which a wait is printed."""
NAME_WIDTH = 9
"""Characters in the longest name of a stage."""


class StageProgress:
    """How far one stage is, by its progress file, and an estimate of the time that is left.

    clock  returns seconds, from any beginning
    """

    def __init__(self, stage: str, version: str, clock: Callable[[], float]) -> None:
        self.stage, self.version, self.clock = stage, version, clock
        self.started = clock()
        self.doing = DOING[stage]
        self.done = self.total = 0
        self._first = self._last = (self.started, 0)
        """First and last reading of the phase that showed new work, each (seconds, tasks done)."""

    def update(self, done: int, total: int, text: str) -> None:
        """Take over the content of the progress file; a new phase begins a new estimate.

        done, total  tasks of the phase
        text         name of the phase, then details after a comma
        """
        now, doing = (self.clock(), done), phase(text)
        if (doing, total) != (self.doing, self.total) or done < self.done:
            self._first = self._last = now
        elif done > self.done:
            self._last = now
        self.doing, self.done, self.total = doing, done, total

    @property
    def left_s(self) -> float | None:
        """Seconds until the phase ends, at its speed so far; None if the speed is not known yet.

        Tasks that were done at the first reading do not count for the speed, for their results may
        have been reused from an earlier run.
        """
        (began, done_before), (at, done) = self._first, self._last
        if done <= done_before:
            return None
        rest = (at - began) / (done - done_before) * (self.total - done)
        return max(0.0, rest - (self.clock() - at))

    @property
    def took_s(self) -> float:
        """Seconds since the stage began."""
        return self.clock() - self.started

    @property
    def text(self) -> str:
        """`asking questions, 38 %, about 21 s left`; without an estimate, the time so far."""
        parts = [self.doing]
        if self.total:
            parts.append(f"{self.done / self.total:.0%}")
        left = self.left_s
        if left is None:
            parts.append(f"{duration(self.took_s)} so far")
        else:
            parts.append("a few seconds left" if left < 10 else f"about {duration(left)} left")
        return ", ".join(parts)


class StageWatch:
    """Prints the stages of a run as they begin and end. A context manager around the run."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        heading: str = "Edition",
        quiet: bool = False,
        verbose: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        workspace  where the run writes its outputs and progress files
        heading    printed before the version, on the line above its stages
        quiet      whether nothing is printed
        verbose    whether the counts of each stage are printed below its sentence
        console    where to print; None is standard error
        clock      returns seconds, from any beginning
        """
        self.workspace, self.heading, self.verbose = workspace, heading, verbose
        self.console = console or Terminal(stderr=True, quiet=quiet)
        self.clock = clock
        self.started = clock()
        self.made: dict[str, dict[str, Artifact]] = {}
        """Edition -> stage -> output, for finished stages; a second attempt replaces the first."""
        self.current: StageProgress | None = None
        self._version = ""
        self._waits: set[str] = set()
        """What was printed to be waited for."""
        self._last_line = self.started
        self.bar = _bar(self.console) if _is_live(self.console) else None
        self._task = self.bar.add_task("", visible=False, said="") if self.bar else None
        self._lock = threading.RLock()
        """Held to print progress and to end a stage, so that no progress follows the end."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> StageWatch:
        if self.bar:
            self.bar.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self.bar:
            self.bar.stop()
        self.console.print(f"{duration(self.clock() - self.started)} in all")

    def checking(self) -> None:
        """Print that the model is tried before anything is read."""
        self._print_line("model", "trying whether it can be asked, edited and released")

    def checked(self, preflight: Preflight) -> None:
        """Print what trying the model has shown, if it was tried now, and which weights beside it
        no release will have, if there are any."""
        if preflight.seconds:
            blocks = f"{preflight.found.editable} of its {preflight.found.blocks} blocks"
            told = f"it can: {blocks} can be edited  ({duration(preflight.seconds)})"
            self._print_line("model", told)
        if preflight.left:
            told = f"{', '.join(preflight.left)} beside the weights: no release will have them"
            self._print_line("model", told)

    def begin(self, stage: str, version: str) -> None:
        """Print that a stage begins."""
        if version.endswith(RETRY) and version != self._version:
            what = (
                "with fewer facts in the weights"
                if stage == "plan"
                else "without the edits that do harm"
            )
            self.console.print(f"  trying again {what}")
        elif edition_of(version) != edition_of(self._version):
            self.console.print(Text(f"{self.heading} {version}", "bold"), soft_wrap=True)
        self._version = version
        self.current = StageProgress(stage, version, self.clock)
        self.show()

    def tell(self, line: str) -> None:
        """Print a line about the present stage."""
        with self._lock:
            self._print_line(self.current.stage if self.current else "", line)

    def end(self, artifact: Artifact) -> None:
        """Print what a stage did, from its finished output."""
        assert self.current is not None
        stage, took_s = self.current.stage, self.current.took_s
        with self._lock:
            self.current = None
            self.show()
        self.made.setdefault(edition_of(artifact.record["version"]), {})[stage] = artifact
        told = sentence(stage, details(artifact), found=not artifact.made_now)
        if artifact.made_now:
            told += f"  ({duration(took_s)})"
        self._print_line(stage, told)
        if self.verbose:
            counts = ", ".join(f"{key} {brief(value)}" for key, value in artifact.counts.items())
            self._print_line("", f"counts: {counts}", style="dim")

    def show(self) -> None:
        """Update the progress bar or, in a log, print a line of progress if it is time for one."""
        with self._lock:
            current = self.current
            if current is not None:
                self._read(current)
            if self.bar is not None and self._task is not None:
                self.bar.update(
                    self._task,
                    visible=current is not None,
                    description=current.stage if current else "",
                    completed=current.done if current else 0,
                    total=(current.total or None) if current else None,
                    said=current.text if current else "",
                )
            elif current is not None and current.took_s > 2:
                now = self.clock()
                if now - self._last_line > LINE_EVERY_S:
                    self._last_line = now
                    self._print_line(current.stage, f"... {current.text}")

    def _read(self, current: StageProgress) -> None:
        """Read the progress file of the present stage, if it has one."""
        directory = self.workspace.partial(current.stage, current.version)
        self._tell_waits(directory / WAITS)
        if state := read_progress(directory / PROGRESS):
            current.update(state["done"], state["total"], state["text"])

    def _tell_waits(self, directory: Path) -> None:
        """Print what the workers wait for, each once, when it has lasted for `WAIT_S`."""
        now_s = time.time()
        for wait in read_waits(directory, now_s):
            if wait.what not in self._waits and now_s - wait.since_s >= WAIT_S:
                self._waits.add(wait.what)
                until = datetime.fromtimestamp(wait.until_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
                told = f"waits for {wait.what}; until {until} UTC at most"
                self._print_line(self.current.stage if self.current else "", told)

    def _watch(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            self.show()

    def _print_line(self, name: str, text: str, *, style: str = "") -> None:
        """Print a name and a text: wrapped beside the name on a terminal, in one line in a log."""
        if self.bar is None:
            self.console.print(f"  {name:<{NAME_WIDTH}}  {line(text)}", soft_wrap=True)
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=NAME_WIDTH + 2, style="bold")
        table.add_column(overflow="fold")
        table.add_row(f"  {name}", line(text), style=style)
        self.console.print(table)


def _is_live(console: Console) -> bool:
    """Whether the console can draw a progress bar."""
    return console.is_terminal and not console.is_dumb_terminal and not console.quiet


def _bar(console: Console) -> Progress:
    """A progress bar that disappears at the end; it pulses while the total is unknown."""
    return Progress(
        SpinnerColumn(),
        TextColumn(f"{{task.description:<{NAME_WIDTH}}}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[said]}", markup=False),
        console=console,
        transient=True,
    )
