"""Capability tasks: what we carry is whole, and a user's own file is refused in one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from infra.errors import ConfigError, StageError
from infra.execution.runner import InProcessRunner
from infra.storage.workspace import Workspace
from pipeline.config import load_config
from pipeline.evaluate.capability import measure
from pipeline.evaluate.capability.tasks import CARRIED, TASKS, read_tasks
from pipeline.evaluate.config import EvaluateConfig
from pipeline.flow import run_editions
from pipeline.run import Run

GOOD = {"query": "The capital of France is", "choices": ["Paris", "Rome"], "gold": 0}


def write(path: Path, *items: Any) -> str:
    """A task file; returns what names it in a config."""
    lines = [item if isinstance(item, str) else json.dumps(item) for item in items]
    path.write_text("".join(f"{line}\n" for line in lines))
    return f"mine={path}"


@pytest.mark.parametrize("name", CARRIED)
def test_what_we_carry_is_whole(name: str) -> None:
    """As many items as are asked by default, no question twice, every right answer somewhere."""
    [task] = read_tasks([name], EvaluateConfig().capability_limit)
    assert len({(item.query, item.choices) for item in task.items}) == len(task.items) == 100
    assert len({item.gold for item in task.items}) == max(len(i.choices) for i in task.items)
    assert (TASKS / f"{name}.jsonl").stat().st_size < 60_000


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{**GOOD, "gold": 2}], "mine.jsonl line 1: gold = 2 of 2 choices; it counts from 0"),
        ([{**GOOD, "query": "Is it? "}], "ends in white space"),
        ([{**GOOD, "query": ""}], "is empty"),
        ([{**GOOD, "choices": ["Paris", " Rome"]}], "spaces around"),
        ([{**GOOD, "choices": ["Paris"]}], "choices: .*at least 2"),
        ([{"query": "Is it?", "choices": ["no", "yes"]}], "gold: Field required.*A line is {"),
        (["{"], "line 1: Invalid JSON"),
        ([], "has 0 items, and capability_limit is 1"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, lines: list[Any], message: str) -> None:
    """Where, what is wrong, and what a line is."""
    with pytest.raises(ConfigError, match=message) as caught:
        read_tasks([write(tmp_path / "mine.jsonl", *lines)], 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["arc_eazy"], "did you mean 'arc_easy'.*NAME=FILE.jsonl"),
        (["mine=none.jsonl"], "none.jsonl: No such file"),
        (["a/b=none.jsonl"], "letters, digits"),
        (["arc_easy", "arc_easy"], "two tasks have one name"),
    ],
)
def test_bad_names(specs: list[str], message: str) -> None:
    """Unknown, missing, unfit for a file name, twice."""
    with pytest.raises(ConfigError, match=message):
        read_tasks(specs, 1)


def test_a_label_is_the_content(tmp_path: Path) -> None:
    """The same items from another file are the same task; one changed answer, or fewer items, are
    not."""
    one, same = tmp_path / "one.jsonl", tmp_path / "same.jsonl"
    other = {**GOOD, "gold": 1}
    labels = [
        read_tasks([write(path, *items)], limit)[0].label
        for path, items, limit in (
            (one, (GOOD, GOOD), 2),
            (same, (GOOD, GOOD, other), 2),
            (same, (GOOD, other), 2),
            (same, (GOOD, GOOD), 1),
        )
    ]
    assert labels[0] == labels[1]
    assert len(set(labels)) == 3


def test_a_task_file_is_beside_its_config(
    world: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is the config's; items are checked with it, before anything runs."""
    monkeypatch.setattr(measure, "find_spec", lambda name: name)
    config = world()
    spec = write(config.parent / "mine.jsonl", GOOD)
    settings = {"evaluate.capability": ["mine=mine.jsonl"], "evaluate.capability_limit": 1}
    assert load_config(config, settings).evaluate.capability == (spec,)
    with pytest.raises(ConfigError, match="capability_limit is 2"):
        load_config(config, {**settings, "evaluate.capability_limit": 2})


def test_tasks_without_the_harness(
    world: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with the config, which says how to install it; without tasks it is not needed."""
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    config = world()
    assert load_config(config).evaluate.capability == ()
    with pytest.raises(ConfigError, match=r"pip install 'corrigenda\[capability\]'"):
        load_config(config, {"evaluate.capability": ["arc_easy"]})


def test_a_changed_file_is_another_evaluation(world: Callable[..., Path]) -> None:
    """In a run: report and gate have the task, the same run again finds both, and another right
    answer in the file is refused under the old version."""
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    path = world()
    spec = write(path.parent / "mine.jsonl", GOOD)
    config = load_config(
        path,
        {
            "evaluate.capability": ["mine=mine.jsonl"],
            "evaluate.capability_limit": 1,
            "editions": [{"as_of": date(2016, 6, 30)}],
        },
    )
    assert config.evaluate.capability == (spec,)
    place = Workspace.at(config.workspace)
    made: list[Any] = []
    run = Run(
        config=config,
        config_dir=path.parent,
        workspace=place,
        runner=InProcessRunner(),
        end=made.append,
    )
    run_editions(run, until="gate")
    *_, evaluated, gated = made
    assert evaluated.json("report.json")["roles"]["candidate"]["capability/mine"]["n"] == 1
    assert "capability_drop" in {check["name"] for check in gated.json("gate.json")["checks"]}
    made.clear()
    run_editions(run, until="gate")
    assert not any(artifact.made_now for artifact in made)
    write(path.parent / "mine.jsonl", {**GOOD, "gold": 1})
    with pytest.raises(StageError, match=r"\(tasks: "):
        run_editions(run, until="gate")
