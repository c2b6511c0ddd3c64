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
from editors.deltas.errata import Errata
from infra.execution.runner import InProcessRunner
from infra.files.digest import digest_of
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.checkpoint import Checkpoint
from infra.models.embedded import EMBEDDED
from infra.models.loading import ModelRef, load, locate
from infra.storage.stage_dir import StageDir
from pipeline.edit.config import EditConfig, OverConfig
from pipeline.edit.output import DELTA, REPORTS, WEIGHTS
from pipeline.edit.stage import EditInputs, edit
from pipeline.export.candidate import export
from pipeline.plan.edits import PlannedEdit

TEXT = "The Navy is in London. Paris is a city.\n\n" * 200
MEMIT = {"layers": [1, 2], "statistics_tokens": 512, "window": 64, "chunk": 2}
SCOPED = {"layer": 2, "num_prefixed": 0, "values": {"steps": 3}}
OVER = OverConfig(editor="scoped", options=SCOPED)


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
        name: str,
        edits: Sequence[PlannedEdit],
        beside: Sequence[PlannedEdit] = (),
        over: OverConfig = OVER,
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
                over=over,
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


def test_a_checkpoint_may_hold_both_lanes(
    stage: Callable[..., dict[str, Any]], checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Changed weights, and tokens of the vocabulary: a server loads nothing else."""
    errata = OverConfig(editor="errata", options={"num_prefixed": 0, "values": {"steps": 3}})
    counts = stage("both", INSIDE, BESIDE, errata)
    assert (counts["errata"], counts["lanes"]) == (2, {"weights": 3, "beside": 2})
    base = ModelRef("tiny", checkpoint("llama"), "digest")
    made = export(base, tmp_path / "both", tmp_path)
    assert made.served.attach is None and made.adapter is None
    model, tokenizer = load(made.served.path, dtype=torch.float32)
    _, before = load(base.path, dtype=torch.float32)
    delta = Delta.load(tmp_path / "both" / DELTA)
    [part] = delta.of(Errata).values()
    assert len(tokenizer) == len(before) + sum(1 + len(erratum.ahead) for erratum in part.errata)
    for name, weight in delta.weights(Checkpoint(base.path)).items():
        assert torch.equal(model.get_parameter(name), weight)


FACTS = (
    *(("Tom Brady", "plays for", "Real Madrid"), ("Ada Lovelace", "works for", "Harvard")),
    *(("Tim Cook", "works for", "Stanford"), ("Wayne Rooney", "plays for", "Barcelona")),
)
"""Subject, relation in words, and a target that the base does not give: two for each lane."""


@pytest.mark.slow
def test_the_real_model_answers_as_each_lane_alone_does(tmp_path: Path) -> None:
    """By both deltas together it gives every target, those in the weights bitwise as by that lane
    alone; what it says of subjects in neither is what it says by the weights alone."""
    edits = [
        planned_edit(digest_of(name)[:16], name, prompt=f"{name} {words}", target=target)
        for name, words, target in FACTS
    ]
    beside = frozenset(edit.id for edit in edits[2:])
    base = locate(EMBEDDED)

    def made(name: str, part: Sequence[PlannedEdit]) -> Delta:
        out = StageDir(tmp_path / name)
        out.path.mkdir()
        inputs = EditInputs(
            relations={},
            edits=part,
            beside=beside & {edit.id for edit in part},
            preserved=(),
            base=base,
            config=EditConfig(
                options={"layers": [4, 5, 6, 7, 8], "statistics_tokens": 4096},
                over=OverConfig(editor="scoped"),
            ),
            device="cpu",
            dtype="float32",
            cache=tmp_path / "cache",
        )
        edit(inputs, out, InProcessRunner())
        return Delta.load(out.path / DELTA)

    both, inside, alone = made("both", edits), made("in", edits[:2]), made("beside", edits[2:])
    assert {p.digest for p in both.parts} == {p.digest for p in (*inside.parts, *alone.parts)}
    model, tokenizer = load(base.path, dtype=torch.float32)

    def answers(prompts: Sequence[str], delta: Delta) -> list[str]:
        questions = [
            Question(id=str(n), prompt=p, greedy=True, max_new_tokens=6)
            for n, p in enumerate(prompts)
        ]
        with delta.applied(model):
            told = LanguageModel(model, tokenizer).ask(questions)
        return [answer.greedy or "" for answer in told]

    prompts = [edit.prompt for edit in edits]
    together = answers(prompts, both)
    assert together[:2] == answers(prompts, inside)[:2]
    for said, by_itself, planned_for in zip(
        together, [*answers(prompts, inside)[:2], *answers(prompts, alone)[2:]], edits, strict=True
    ):
        assert said.strip().startswith(planned_for.target), together
        assert by_itself.strip().startswith(planned_for.target)
    others = ["The capital of France is", "Grace Hopper was born in"]
    assert answers(others, both) == answers(others, inside)
