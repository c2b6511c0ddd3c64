"""What each stage takes is what its output is known by."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import make_dataclass
from typing import Any

import pytest

from discovery.crawl.stage import CrawlInputs, crawl
from discovery.diff.stage import DiffInputs, diff
from discovery.probe.stage import ProbeInputs, probe
from discovery.snapshot.stage import SnapshotInputs, snapshot
from infra.storage.identity import NO_IDENTITY, identity_of
from pipeline.edit.stage import EditInputs, edit
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.gate.stage import GateInputs, gate
from pipeline.plan.stage import PlanInputs, plan
from pipeline.release.manifest import ReleaseInputs
from pipeline.release.stage import release
from pipeline.stages import CODE, STAGES, Stage

INPUTS: dict[Stage, Any] = {
    crawl: CrawlInputs,
    snapshot: SnapshotInputs,
    diff: DiffInputs,
    probe: ProbeInputs,
    plan: PlanInputs,
    edit: EditInputs,
    evaluate: EvaluateInputs,
    gate: GateInputs,
    release: ReleaseInputs,
}
WITHOUT_IDENTITY = {
    ("crawl", "base_dir"),  # the files below it count by their content
    ("crawl", "cache"),
    ("edit", "cache"),
    ("gate", "find"),
    ("gate", "explain"),
}
"""Fields that do not change what a stage makes. Think twice before adding one."""


def test_the_nine_stages_are_here_in_their_order() -> None:
    """Each is a function of the stage's name, from inputs, a directory and a runner."""
    assert tuple(stage.__name__ for stage in INPUTS) == STAGES == tuple(CODE)
    for stage in INPUTS:
        assert list(inspect.signature(stage).parameters) == ["inputs", "out", "runner"]


def test_no_field_is_left_out_by_an_oversight() -> None:
    """All fields count but those listed above."""
    left_out = {
        (stage.__name__, field.name)
        for stage, inputs in INPUTS.items()
        for field in dataclasses.fields(inputs)
        if field.metadata == NO_IDENTITY
    }
    assert left_out == WITHOUT_IDENTITY


@pytest.mark.parametrize("stage", INPUTS, ids=lambda stage: stage.__name__)
def test_a_new_setting_moves_the_fingerprint(stage: Stage) -> None:
    """A field that is added to a stage's inputs is in its fingerprint, and moves it."""
    inputs = INPUTS[stage]
    bias = [("bias", float, dataclasses.field(default=0.5, kw_only=True))]
    wider = make_dataclass("Wider", bias, bases=(inputs,), frozen=True)

    def made(kind: Any, **values: Any) -> Any:
        """An instance whose other fields are empty."""
        instance = object.__new__(kind)
        for field in dataclasses.fields(kind):
            object.__setattr__(instance, field.name, values.get(field.name))
        return instance

    assert identity_of(made(wider)).keys() - identity_of(made(inputs)).keys() == {"bias"}
    assert identity_of(made(wider, bias=0.5)) != identity_of(made(wider, bias=0.25))
