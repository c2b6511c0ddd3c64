"""What is shown while a stage runs: a bar on a terminal, few plain lines in a log."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from infra.display import Terminal
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import WAITS
from infra.storage.workspace import Workspace
from jobs.terminal.progress import LINE_EVERY_S, StageProgress, StageWatch
from pipeline.config import RETRY


class Clock:
    """A clock that goes on when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_is_told_from_the_speed_of_this_phase() -> None:
    """What was done when the phase was first seen counts for nothing; between two updates the time
    runs down; a new phase begins anew."""
    clock = Clock()
    stage = StageProgress("edit", "1", clock)
    assert stage.left_s is None and stage.text == "editing the model, 0.0 s so far"
    clock.now += 5
    stage.update(40, 100, "values, 40 found")
    assert stage.left_s is None
    clock.now += 10
    stage.update(50, 100, "values, 40 found, 1 edits/s, 50 s left")
    assert stage.left_s == 50
    clock.now += 20
    stage.update(50, 100, "values, 40 found, 1 edits/s, 50 s left")
    assert stage.left_s == 30
    assert stage.text == "finding what the model has to store, 50%, about 30 s left"
    stage.update(0, 8, "solve")
    assert stage.left_s is None and stage.took_s == 35
    assert stage.text == "computing the change of the weights, 0%, 35 s so far"


@pytest.fixture()
def place(tmp_path: Path) -> Workspace:
    return Workspace.at(str(tmp_path))


def watch_of(place: Workspace, clock: Clock, **settings: Any) -> tuple[StageWatch, io.StringIO]:
    """A watch whose thread is not started, and what it prints."""
    terminal = settings.pop("terminal", False)
    stream = io.StringIO()
    console = Terminal(file=stream, width=60, force_terminal=terminal)
    return StageWatch(place, console=console, clock=clock, **settings), stream


def tell(place: Workspace, stage: str, version: str, done: int, total: int) -> None:
    """What a stage under way writes."""
    path = place.partial(stage, version) / "progress.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"done": done, "total": total, "text": "shards of questions"}))


def made(stage: str, version: str, *, now: bool = True, **counts: Any) -> Artifact:
    """A finished output of which only the record is read."""
    return Artifact(Path(), {"stage": stage, "version": version, "counts": counts}, made_now=now)


def test_a_log_has_a_line_now_and_then_and_one_at_the_end(place: Workspace) -> None:
    """However often the progress is looked at, and without control characters."""
    clock = Clock()
    watch, stream = watch_of(place, clock)
    watch.begin("probe", "1")
    for done in range(61):
        clock.now += 0.5
        tell(place, "probe", "1", done, 120)
        watch.show()
    watch.end(made("probe", "1", probed=2, verdicts={"stale": 2}))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Edition 1"
    assert [line for line in lines if "..." in line] == lines[1:-1]
    assert len(lines[1:-1]) == int(30 / LINE_EVERY_S) - 1
    assert lines[1].startswith("  probe      ... asking questions, 17%, about 50 s left")
    about = "asked the model about 2 changed facts: 2 it believes wrongly"
    assert lines[-1] == f"  probe      {about}  (30 s)"
    assert "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()


def test_a_terminal_has_a_bar_while_a_stage_runs(place: Workspace) -> None:
    """With how far it is and the time left; a long sentence is wrapped beside the stage's name."""
    clock = Clock()
    watch, stream = watch_of(place, clock, terminal=True)
    with watch:
        watch.begin("probe", "1")
        for done in (0, 30):
            tell(place, "probe", "1", done, 120)
            clock.now += 10
            watch.show()
        assert watch.bar is not None
        watch.bar.refresh()
        shown = stream.getvalue()
        counts = {"probed": 2, "verdicts": {"stale": 2}, "states": {"held": 12, "cooling": 13}}
        watch.end(made("probe", "1", **counts))
        watch.bar.refresh()
    assert "━" in shown and "\x1b" in shown
    assert "asking questions, 25%, about 30 s left" in shown
    rest = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", stream.getvalue().removeprefix(shown))
    lines = rest.splitlines()
    first = next(n for n, line in enumerate(lines) if "asked the model about" in line)
    assert lines[first].strip().startswith("probe      asked")
    assert all(line.startswith(" " * 13) for line in lines[first + 1 : first + 3])
    assert "13 are too new to act on" in " ".join(lines[first + 2].split())


def test_found_outputs_other_attempts_and_counts_are_told(place: Workspace) -> None:
    """A found output has no time; a second attempt is announced; the counts are for `verbose`."""
    clock = Clock()
    watch, stream = watch_of(place, clock, verbose=True, heading="Comparison")
    for version in ("[1]", f"[1]{RETRY}"):
        watch.begin("edit", version)
        watch.end(made("edit", version, now=False, status={"edited": 3, "quarantined": 1}))
    watch.begin("release", "[1]")
    watch.end(made("release", "[1]", edits=3))
    assert stream.getvalue().splitlines() == [
        "Comparison [1]",
        "  edit       already done: wrote 3 facts into the model; 1 could not be written",
        "             counts: status 3 edited / 1 quarantined",
        "  trying again without the edits that do harm",
        "  edit       already done: wrote 3 facts into the model; 1 could not be written",
        "             counts: status 3 edited / 1 quarantined",
        "  release    published 3 edits  (0.0 s)",
        "             counts: edits 3",
    ]
    assert list(watch.made) == ["[1]"] and set(watch.made["[1]"]) == {"edit", "release"}


def test_a_quiet_watch_prints_nothing(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Also at its end, so that `--json` is alone."""
    with StageWatch(place, quiet=True) as watch:
        watch.begin("edit", "1")
        watch.end(made("edit", "1", status={"edited": 3}))
    assert capsys.readouterr() == ("", "")


def test_what_is_waited_for_is_printed_once(place: Workspace) -> None:
    """A wait of a worker, when it has lasted a moment: what for, and until when at most."""
    watch, stream = watch_of(place, Clock())
    watch.begin("crawl", "1")
    waits = place.partial("crawl", "1") / WAITS
    waits.mkdir(parents=True)
    now_s = time.time()
    (waits / "a.json").write_text(json.dumps(["[b]a.org[/b]", now_s - 3, now_s + 500]))
    (waits / "b.json").write_text(json.dumps(["b.org", now_s, now_s + 500]))
    watch.show()
    watch.show()
    assert stream.getvalue().count("waits for [b]a.org[/b]; until 2") == 1
    assert "b.org;" not in stream.getvalue()
