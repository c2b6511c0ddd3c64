"""How long a run takes: by the records of an edition, or by the speed of the model."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from infra.storage.integrity import NEEDED, RECORD
from infra.storage.workspace import Workspace
from pipeline.check.duration import check_duration
from pipeline.check.editions import EditionCheck
from pipeline.stages import STAGES


def edition(*finished: str, parent: str | None = None) -> EditionCheck:
    return EditionCheck(
        version="v2",
        as_of=date(2023, 6, 30),
        parent=parent,
        finished=finished,
        max_asked=144,
        max_edits=62,
        teaches=True,
    )


def test_records_of_an_edition_are_taken(tmp_path: Path) -> None:
    """Each stage is to take what it took; a stage that is finished takes nothing."""
    for number, stage in enumerate(STAGES, 1):
        (tmp_path / stage / "v1").mkdir(parents=True)
        record = dict.fromkeys(NEEDED) | {"duration_s": 100.0 * number}
        (tmp_path / stage / "v1" / RECORD).write_text(json.dumps(record))
    found = check_duration(
        [edition("crawl", "snapshot")], [], workspace=Workspace(tmp_path), tokens_s=1.0, workers=1
    )
    assert found is not None and found.origin == "v1"
    assert found.by_stage == {
        stage: 100.0 * n if n > 2 else 0.0 for n, stage in enumerate(STAGES, 1)
    }
    assert found.low_s < sum(found.by_stage.values()) < found.high_s


def test_the_demo_takes_what_the_demo_took(tmp_path: Path) -> None:
    """At the speed of the demo's machine its second edition is to take the seconds that
    benchmarks/README.md reports, and on a machine of twice the speed half as many."""
    for factor in (1, 2):
        found = check_duration(
            [edition(parent="v1")],
            [],
            workspace=Workspace(tmp_path),
            tokens_s=205.0 * factor,
            workers=2,
        )
        assert found is not None and found.origin == "speed"
        took = {"probe": 117.4, "edit": 136.3, "evaluate": 196.7}
        for stage, seconds in took.items():
            assert found.by_stage[stage] == pytest.approx(seconds / factor)


def test_without_records_and_speed_nothing_is_promised(tmp_path: Path) -> None:
    """A model that was not loaded has no speed."""
    given = {"workspace": Workspace(tmp_path), "tokens_s": None, "workers": 2}
    assert check_duration([edition()], [], **given) is None
