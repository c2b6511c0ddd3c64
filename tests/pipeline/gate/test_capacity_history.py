"""What gates have found out about the capacity of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.models.loading import ModelRef
from pipeline.edit.config import EditConfig, OverConfig
from pipeline.gate.bounds import GateConfig
from pipeline.gate.capacity_history import CapacityHistory, Measured, capacity_of

BASE = ModelRef(name="base", path=Path("base"), digest="base")


def known(history: CapacityHistory) -> int | None:
    capacity = history.capacity()
    return capacity and capacity.num_facts


def test_it_is_unknown_measured_raised_and_lowered(tmp_path: Path) -> None:
    """Unknown until a gate fails by number, though one passed with many; a gate that passes with
    more raises it, one with fewer does not; a later measurement counts, whether it is more or less.
    A run that is repeated adds nothing."""
    history = CapacityHistory(tmp_path / "capacity.json")
    history.note(Measured(version="v0", passed=50))
    assert history.capacity() is None
    history.note(Measured(version="v1", passed=40, failed=42))
    assert known(history) == 40
    history.note(Measured(version="v2", passed=39))
    assert known(history) == 40
    history.note(Measured(version="v3", passed=45))
    assert known(history) == 45
    history.note(Measured(version="v4", passed=30, failed=31))
    capacity = history.capacity()
    assert capacity is not None and capacity.num_facts == 30
    assert capacity.why == "measured in v4: 30 passed, 31 did not"
    for own, expected in ((("v4",), 45), (("v3", "v4"), 40), (("v1",), None), (("v9",), 30)):
        found = history.capacity(before=own)
        assert (found and found.num_facts) == expected
    before = history.path.read_bytes()
    history.note(Measured(version="v0", passed=50))
    history.note(Measured(version="v1", passed=40, failed=42))
    history.note(Measured(version="v2", passed=39))
    assert history.path.read_bytes() == before


def test_a_number_that_passed_is_none_that_fails() -> None:
    """How a raised capacity is known is told without the older failure."""
    entries = [Measured(version="v1", passed=4, failed=5), Measured(version="v2", passed=7)]
    capacity = capacity_of(entries)
    assert capacity is not None and (capacity.num_facts, capacity.why) == (
        7,
        "measured in v2: 7 passed",
    )
    assert capacity_of(entries[1:]) is None and capacity_of([]) is None


@pytest.mark.parametrize("text", ["", "{", '{"value": [], "sha256": "x"}', "[1]"])
def test_a_damaged_file_is_dropped(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a line; the capacity is unknown then."""
    history = CapacityHistory(tmp_path / "capacity.json")
    history.path.write_text(text)
    assert history.capacity() is None
    assert "is damaged: the capacity is measured again" in caplog.text
    assert not history.path.exists()


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    """Base, editor and bounds name the file; the second lane, and bounds that no number of facts
    can fail, do not."""

    def name(base: ModelRef = BASE, edit: EditConfig | None = None, **bounds: float) -> str:
        gate = GateConfig.model_validate(bounds)
        return CapacityHistory.of(tmp_path, base, edit or EditConfig(), gate).path.name

    own = name()
    assert name(ModelRef(name="base", path=Path("base"), digest="other")) != own
    assert name(edit=EditConfig(editor="ft-m")) != own
    assert name(edit=EditConfig(options={"ridge": 2.0})) != own
    assert name(kl=0.5) != own
    assert name(edit=EditConfig(over=OverConfig(editor="scoped"))) == own
    assert name(quarantined=0.5) == own
