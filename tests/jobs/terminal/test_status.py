"""`status --watch` in another process sees a run's progress by the workspace alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command import CORRIGENDA

from infra.storage.stage_dir import WAITS, StageDir
from infra.storage.workspace import Workspace
from infra.telemetry.waits import Waits


def partial(root: Path) -> StageDir:
    """The directory of an edit stage that has begun."""
    path = Workspace(root).partial("edit", "2016.06.30")
    path.mkdir(parents=True)
    return StageDir(path)


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [True, False])
def test_another_process_sees_each_change(tmp_path: Path, as_json: bool) -> None:
    """Once each, and nothing where nothing has changed; Ctrl-C is the end, and no error."""
    out = partial(tmp_path)
    out.progress(2, 9, "values, loss 0.5, 2 edits/s, 3 s left")
    words = [CORRIGENDA, "status", "--watch", "-w", tmp_path, *(["--json"] if as_json else [])]
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None

        def until(text: str) -> str:
            for line in process.stdout or ():
                if text in line:
                    return line
            raise AssertionError(text)

        first = until('"waiting": 7' if as_json else "2 done, 7 tasks waiting")
        assert "loss 0.5" in first
        time.sleep(5.0)  # two looks at which nothing is new
        out.progress(9, 9, "values, loss 0.4, 2 edits/s")
        second = until('"waiting":' if as_json else "waiting")
        assert "loss 0.4" in second
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_how_far_is_told_with_what_is_waited_for(tmp_path: Path, corrigenda: Any) -> None:
    """The phase in words, its queue, what workers wait for; how long ago, where nothing has been
    told for long: a run that was killed leaves the same files."""
    out = partial(tmp_path)
    out.progress(2, 9, "values, loss 0.5")
    with Waits(out.path / WAITS).told("a.org, which is slow", 60.0):
        _, text, _ = corrigenda("status", "-w", tmp_path)
    line = "edit: finding what the model has to store, loss 0.5; 2 done, 7 tasks waiting"
    assert f"2016.06.30 {line}; waits for a.org, which is slow\n" in text
    long_ago = time.time() - 600
    os.utime(out.path / "progress.json", (long_ago, long_ago))
    _, text, _ = corrigenda("status", "-w", tmp_path)
    assert f"2016.06.30 {line}; told 10 min 0 s ago\n" in text
    _, text, _ = corrigenda("status", "-w", tmp_path, "--json")
    (one,) = json.loads(text)["unfinished"]
    assert (one["stage"], one["done"], one["waiting"]) == ("edit", 2, 7)
    assert 590 < one["told_s"] < 700
