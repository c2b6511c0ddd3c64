"""The edit stage with edits in two lanes: each is edited as it would be alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from planned_edits import planned_edit

from editors.deltas.delta import Delta
from infra.execution.runner import InProcessRunner
from infra.files.digest import digest_of
from infra.models.loading import ModelRef, load
from infra.storage.stage_dir import StageDir
from pipeline.edit.config import EditConfig, OverConfig
from pipeline.edit.output import DELTA, REPORTS, WEIGHTS
from pipeline.edit.stage import EditInputs, edit
from pipeline.plan.edits import PlannedEdit

TEXT = "The Navy is in London. Paris is a city.\n\n" * 200
MEMIT = {"layers": [1, 2], "statistics_tokens": 512, "window": 64, "chunk": 2}
SCOPED = {"layer": 2, "num_prefixed": 0, "values": {"steps": 3}}


def planned(name: str) -> PlannedEdit:
    """A lesson about one person."""
    return planned_edit(
        digest_of(name)[:16], name, relation="P108", prompt=f"{name} works for", target="the Navy"
    )


INSIDE = tuple(map(planned, ("Tom Brady", "Wayne Rooney", "Neymar")))
BESIDE = tuple(map(planned, ("Ada Lovelace", "Grace Hopper")))


@pytest.fixture()
def stage(checkpoint: Callable[[str], Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the edit stage in a folder of its own; returns its counts."""

    def run(
        name: str, edits: Sequence[PlannedEdit], beside: Sequence[PlannedEdit] = ()
    ) -> dict[str, Any]:
        out = StageDir(tmp_path / name)
        out.path.mkdir()
        (tmp_path / "text.txt").write_text(TEXT)
        inputs = EditInputs(
            relations={},
            edits=[*edits, *beside],
            beside=frozenset(edit.id for edit in beside),
            preserved=(),
            base=ModelRef("tiny", checkpoint("llama"), "digest"),
            config=EditConfig(
                options=MEMIT,
                over=OverConfig(editor="scoped", options=SCOPED),
                text=str(tmp_path / "text.txt"),
            ),
            device="cpu",
            dtype="float32",
            cache=tmp_path / "cache",
        )
        return edit(inputs, out, InProcessRunner())

    return run


def test_two_lanes_are_edited_as_each_alone(
    stage: Callable[..., dict[str, Any]], checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """The parts of the joined delta are bitwise those of both, the weights are those of the first,
    and there is a report of every edit. A prompt about a fact in the weights is answered bitwise as
    with that lane alone; one about the others is not."""
    counts = stage("both", INSIDE, BESIDE)
    assert counts["lanes"] == {"weights": 3, "beside": 2}
    assert (counts["edits"], counts["status"], counts["scoped"]) == (5, {"edited": 5}, 2)
    assert "lanes" not in stage("inside", INSIDE) and "lanes" not in stage("beside", (), BESIDE)
    both, inside, beside = (
        Delta.load(tmp_path / name / DELTA) for name in ("both", "inside", "beside")
    )
    assert {p.digest for p in both.parts} == {p.digest for p in (*inside.parts, *beside.parts)}
    assert (tmp_path / "both" / WEIGHTS).read_bytes() == (
        tmp_path / "inside" / WEIGHTS
    ).read_bytes()
    reports = pq.read_table(tmp_path / "both" / REPORTS).to_pylist()
    assert [row["id"] for row in reports] == [edit.id for edit in (*INSIDE, *BESIDE)]

    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)

    def answers(edits: Sequence[PlannedEdit], delta: Delta) -> list[torch.Tensor]:
        prompts = [tokenizer(edit.prompt, return_tensors="pt") for edit in edits]
        with torch.no_grad(), delta.applied(model):
            return [model(**prompt).logits for prompt in prompts]

    pairs = zip(answers(INSIDE, both), answers(INSIDE, inside), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    pairs = zip(answers(BESIDE, both), answers(BESIDE, inside), strict=True)
    assert not any(torch.equal(one, other) for one, other in pairs)


def test_one_lane_is_what_it_is_without_a_second(
    stage: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Where all edits are in one lane, nothing is left of the other."""
    stage("inside", INSIDE)
    kinds = {part.kind for part in Delta.load(tmp_path / "inside" / DELTA).parts}
    stage("beside", (), BESIDE)
    others = {part.kind for part in Delta.load(tmp_path / "beside" / DELTA).parts}
    assert (kinds, others) == ({""}, {"scoped"})
