"""Any model on any edit set: editors and foreign checkpoints beside the base, found again when
asked for again; and what many edits at once lose."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluate_helpers import CASES, SMALL

from infra.errors import ConfigError
from infra.execution.runner import InProcessRunner
from infra.lm.inference import Compute
from infra.models.loading import locate
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.comparison.scaling import reliability, scaling
from pipeline.comparison.systems import Comparison, System
from pipeline.edit.config import EditConfig
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.output import ITEMS, REPORT

OPTIONS = {"layers": [1, 2], "statistics_tokens": 512, "window": 64, "chunk": 4}
EDITED = System(name="ours", edit=EditConfig(editor="memit", options=OPTIONS))
FACTS = CaseSet("facts", [case for case in CASES.cases if case.new])


@pytest.fixture(scope="module")
def assess(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Comparison]:
    """An assessment on a tiny model; one workspace for all of the module."""
    root = tmp_path_factory.mktemp("assess")

    def make(cases: CaseSet = FACTS, **more: Any) -> Comparison:
        return Comparison(
            cases=cases,
            base=locate(str(checkpoint("llama"))),
            config=EvaluateConfig(**{**SMALL, "metrics": ("preference", "generation"), **more}),
            compute=Compute(max_new_tokens=4),
            workspace=Workspace(root),
            runner=InProcessRunner(),
        )

    return make


def right(made: Artifact) -> dict[str, float]:
    rows = made.table(ITEMS).to_pylist()
    return {
        r["item"]: r["value"]
        for r in rows
        if (r["role"], r["metric"]) == ("candidate", "reliability")
    }


def test_a_system_is_judged_once(assess: Callable[..., Comparison]) -> None:
    """Base and candidate stand in one report; asked again, both outputs are found; another edit set
    of the same name and size has outputs of its own."""
    made = assess().run(EDITED)
    assert made.made_now
    roles = made.json("report.json")["roles"]
    assert roles["candidate"]["ES"]["n"] == roles["base"]["ES"]["n"] == len(FACTS.cases)
    again = assess().run(EDITED)
    assert not again.made_now and again.digest == made.digest
    other = assess(CaseSet("facts", [*FACTS.cases][::-1])).run(EDITED)
    assert other.made_now and assess().run(EDITED).digest == made.digest
    assert assess().refused(EDITED) == {}
    assert (assess().seconds(EDITED) or 0) > 0


def test_a_checkpoint_of_others_is_judged_like_ours(
    assess: Callable[..., Comparison], tmp_path: Path
) -> None:
    """Our export, given as a foreign checkpoint, gets the numbers that it had as ours, and no
    claims about how it was made; the unedited model gets the base's."""
    ours = assess().run(EDITED)
    shutil.copytree(ours.path / "checkpoint", tmp_path / "theirs")
    foreign = System(name="theirs", checkpoint=tmp_path / "theirs")
    made = assess().run(foreign)
    one, two = (m.json("report.json")["roles"]["candidate"] for m in (ours, made))
    for name in ("ES", "PS", "reliability", "generality"):
        assert one[name]["value"] == two[name]["value"], name
    assert "export_loss" in one and "export_loss" not in two
    assert assess().seconds(foreign) is None
    itself = System(name="itself", checkpoint=assess().base.path)
    roles = assess().run(itself).json("report.json")["roles"]
    assert roles["candidate"]["ES"] == roles["base"]["ES"]


def test_what_many_edits_lose(
    assess: Callable[..., Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor that holds the last two facts it was given, by hand: each fact is known alone, the
    first of three is lost with the third."""
    asked: list[tuple[str, ...]] = []

    def last_two(_: Comparison, system: System, cases: CaseSet) -> dict[str, float]:
        ids = [case.id for case in cases.cases]
        asked.append(tuple(ids))
        return {i: float(i in ids[-2:]) for i in ids}

    monkeypatch.setattr("pipeline.comparison.scaling.reliability", last_two)
    found = scaling(assess(), EDITED, alone=2, steps=3)
    a, b, c = (case.id for case in FACTS.cases)
    assert sorted(asked) == sorted([(a, b, c), (a,), (b,), (a,), (a, b)])
    values = {name: metric.value for name, metric in found.items()}
    assert values == pytest.approx(
        {
            "scalability": 1 - 1 / 2,
            "relative_scalability": 1 / 2,
            "accuracy@1": 1,
            "accuracy@2": 1,
            "accuracy@3": 2 / 3,
            "retainability": (2 / 3 - 1) / 2,
            "forgetting": 1 / 2,  # of the two that have an earlier point
        }
    )
    assert "score=alias" in found["scalability"].protocol
    assert not scaling(assess(), EDITED, alone=0, steps=0)


def test_a_part_is_edited_by_itself(assess: Callable[..., Comparison]) -> None:
    """What a part of the set is credited with is the answer of the model edited with that part."""
    case = CaseSet("facts", FACTS.cases[:1])
    made = assess(case, metrics=("generation",)).run(EDITED)
    assert reliability(assess(), EDITED, case) == right(made)
    assert right(made).keys() == {FACTS.cases[0].id}


def test_what_scaling_asks_leaves_the_tables_report_alone(
    assess: Callable[..., Comparison],
) -> None:
    """The report that a row of the table names is still the one with all of its families."""
    made = assess().run(EDITED)
    reliability(assess(), EDITED, FACTS)
    assert made.json(REPORT)["families"] == ["preference", "generation"]
    assert not assess().run(EDITED).made_now


def test_what_cannot_be_asked(assess: Callable[..., Comparison], tmp_path: Path) -> None:
    """One line each: more facts than there are, a checkpoint that cannot be edited in parts, a
    system that is both or neither."""
    with pytest.raises(ConfigError, match="facts has 3 facts"):
        scaling(assess(), EDITED, alone=4, steps=0)
    with pytest.raises(ConfigError, match="edited already"):
        scaling(assess(), System(name="x", checkpoint=tmp_path), alone=1, steps=0)
    for both in ({"edit": EDITED.edit, "checkpoint": tmp_path}, {}):
        with pytest.raises(ConfigError, match="one of the two"):
            System(name="x", **both)
