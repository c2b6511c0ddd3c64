"""The evaluate stage on a tiny model: what moved is seen, what did not is not, and nothing else."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from evaluate_helpers import CASES, NUM_FORMS, SMALL, GivenCandidate, Says, Watching

from infra.lm.inference import Compute, ModelAnswers, ServedModel
from infra.lm.question import Answer
from infra.models.checkpoint import Checkpoint
from infra.models.loading import ModelRef
from infra.storage.stage_dir import SHARDS, StageDir
from pipeline.evaluate.cases import Case, CaseSet, Query
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.fidelity import contamination, lost
from pipeline.evaluate.metrics import METRICS
from pipeline.evaluate.output import FACTS, ITEMS, REPORT
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.export.candidate import Candidate

CHANGED = "model.layers.1.mlp.down_proj.weight"
Judge = Callable[..., "Judged"]


@dataclass(frozen=True)
class Judged:
    """A finished evaluation."""

    out: Path
    runner: Watching
    returned: dict[str, Any]

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.out / REPORT).read_text())

    @property
    def candidate(self) -> dict[str, Any]:
        return self.report["roles"]["candidate"]


@pytest.fixture(scope="module")
def judge(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Evaluates a candidate, the base itself where none is given, in a folder of its own."""
    base = ServedModel(name="base", path=checkpoint("llama"))

    def run(
        candidate: Candidate | None = None,
        *,
        parent: ServedModel | None = None,
        seen: Iterable[str] = (),
        out: Path | None = None,
        **settings: Any,
    ) -> Judged:
        directory = out or tmp_path_factory.mktemp("evaluate")
        runner = Watching()
        inputs = EvaluateInputs(
            cases=CASES,
            base=ModelRef("base", base.path, "digest"),
            parent=parent,
            edited=GivenCandidate(candidate or Candidate(served=replace(base, name="candidate"))),
            seen=tuple(seen),
            config=EvaluateConfig(**{**SMALL, **settings}),
            compute=Compute(shard_size=8, max_new_tokens=4),
        )
        returned = evaluate(inputs, StageDir(directory), runner)
        return Judged(directory, runner, returned)

    return run


@pytest.fixture(scope="module")
def itself(judge: Judge) -> Judged:
    """The base as its own candidate, by every family."""
    return judge(metrics=tuple(METRICS))


def test_the_base_is_as_good_as_itself(itself: Judged) -> None:
    """All continuations are its own, nothing drifted, and every difference is 0 without width."""
    found = itself.candidate
    for name in ("near_agreement", "subject_agreement", "neutral_agreement"):
        assert found[name]["value"] == 1 and found[name]["n"]
    assert found["kl"]["value"] == found["energy"]["value"] == 0
    differences = itself.report["differences"]["candidate-base"]
    assert {"reliability", "ES", "PS", "NS", "perplexity", "ME-PPL", "leak"} <= differences.keys()
    assert {"fluency", "consistency", "multi_hop", "TFA"} <= differences.keys()
    for made in differences.values():
        assert (made["value"], made["low"], made["high"]) == (0, 0, 0)
    assert itself.report["roles"].keys() == {"base", "candidate"}


def test_a_changed_weight_is_seen(
    judge: Judge, itself: Judged, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """In continuations, drift, energy, perplexity and norm; of the unedited model nothing moves."""
    base = Checkpoint(checkpoint("llama"))
    torch.manual_seed(0)
    weight = base.tensor(CHANGED)
    base.export(tmp_path / "edited", {CHANGED: weight + 3 * torch.randn(weight.shape)})
    served = ServedModel(name="candidate", path=tmp_path / "edited")
    made = judge(Candidate(served=served, edited=(CHANGED,)), metrics=tuple(METRICS))
    found = made.candidate
    assert found["near_agreement"]["value"] < 1
    assert found["kl"]["value"] > 0.01 and found["energy"]["value"] > 0.1
    assert found["norm_ratio"]["value"] > 1.1 and found["norm_ratio"]["n"] == 1
    assert made.report["differences"]["candidate-base"]["perplexity"]["value"] != 0
    assert made.report["roles"]["base"] == itself.report["roles"]["base"]
    assert made.returned["kl"] == round(found["kl"]["value"], 4)


def test_the_oracle_is_told_the_fact(judge: Judge, itself: Judged) -> None:
    """The base is asked what the base was asked, each with its case's fact before it; what is of no
    case is not asked. It has a row and a difference of its own."""
    made = judge(context=True, metrics=("generation", "locality", "multi_hop"))
    told, plain = made.runner.prompts("context"), made.runner.prompts("base")
    assert {i for i in plain if not i.startswith(("neutral/", "gone/", "hop/"))} == told.keys()
    assert "hop/m/q0" in plain
    for i, prompt in told.items():
        fact = CASES.by_id[i.split("/")[1]]
        assert prompt == f"{fact.prompt} {fact.target}.\n{plain[i]}"
    assert "reliability" in made.report["roles"]["context"]
    assert "generality" in made.report["differences"]["context-candidate"]
    assert "context" not in itself.report["roles"]


def test_the_parent_is_asked_about_facts_only(
    judge: Judge, checkpoint: Callable[[str], Path]
) -> None:
    """Own prompts, paraphrases and what was taken out; its answers are what a fact was before."""
    says_z = ServedModel(name="parent", path=checkpoint("llama"), attach=Says("Z"))
    made = judge(parent=says_z)
    asked = made.runner.prompts("parent")
    assert {i.split("/")[0] for i in asked} == {"edit", "gone"}
    assert len(asked) == NUM_FORMS + 1
    rows = {row["id"]: row for row in pq.read_table(made.out / FACTS).to_pylist()}
    assert [rows[c.id]["right_before"] for c in CASES.cases] == [True, False, True, False]
    assert not any(row["right"] for row in rows.values())
    lost = made.report["differences"]["candidate-parent"]["reliability"]
    assert (lost["value"], lost["n"]) == (pytest.approx(-2 / 3), 3)
    assert made.report["relations"]["P54"]["reliability"]["n"] == 1


def test_a_planted_prompt_is_found_in_what_the_editor_saw(judge: Judge) -> None:
    """However it is written and whatever is around it; a word that only ends like it is none. The
    edits' own prompts are the editor's to see."""
    held_out = CASES.prompts_held_out()
    own = [c.prompt for c in CASES.cases]
    clean = [*own, "He is in Tom Bradyland. The bathe club of Neymar isn't"]
    for seen, leaked in (
        (clean, 0),
        ([*clean, "So: the CLUB of  Neymar is, he said"], 1),
        (held_out, len(held_out)),
    ):
        found = contamination(CASES, seen)["contamination"]
        assert (found.value, found.n) == (leaked / len(held_out), len(held_out))
    made = judge(seen=["Tom Brady is with"], metrics=("preference",))
    assert made.candidate["contamination"]["value"] == 1 / len(held_out)


def test_a_question_is_seen_where_it_is_asked_whole() -> None:
    """One about a subject whose name is the beginning of another name is another question."""
    held = Case(
        id="a",
        relation="P176",
        subject="Land Cruiser",
        prompt="Land Cruiser is made by",
        subject_start=0,
        target="Toyota",
        accepted=("Toyota",),
        questions=("Who makes the Land Cruiser?",),
    )
    for seen, leaked in (
        ("Who makes the Land Cruiser Prado?", 0),
        ("So: who makes the land cruiser? He did not say.", 1),
        ("Land Cruiser is made by Toyota.", 0),
    ):
        assert contamination(CaseSet("t", (held,)), [seen])["contamination"].value == leaked


def test_a_fact_known_in_memory_and_lost_as_served_is_counted(
    judge: Judge, checkpoint: Callable[[str], Path]
) -> None:
    """Of those known in memory the share that the served model does not answer."""
    plain = ServedModel(name="candidate", path=checkpoint("llama"))
    memory = replace(plain, name="memory", attach=Says("Z"))
    for served, loss in ((plain, 1.0), (replace(plain, attach=Says("Z")), 0.0)):
        made = judge(Candidate(served=served, memory=memory), metrics=("generation",))
        assert made.candidate["export_loss"]["value"] == loss
        assert made.candidate["export_loss"]["n"] == 2
        assert all(i.endswith("/0") for i in made.runner.prompts("memory"))
        assert made.candidate["reliability"]["value"] == pytest.approx((1 - loss) * 2 / 3)


def test_export_loss_is_a_share_of_what_was_known() -> None:
    """Three known of four, one of them lost; a fact that only the served model knows is no gain."""

    def paper(**said: str) -> ModelAnswers:
        return ModelAnswers(
            {
                f"edit/{c.id}/0": Answer(id="", logprobs=(), num_tokens=(), greedy=text)
                for c, text in zip(CASES.cases, said.values(), strict=True)
            },
            {},
        )

    memory = paper(a="ZZZZ", b="London", c="ZZZZ too", d="no")
    served = paper(a="ZZZZ", b="Londoner", c="zzzz", d="Paris")
    found = lost(CASES, memory, served)
    assert (found.value, found.n) == (pytest.approx(1 / 3), 3)


def test_the_items_are_the_report(itself: Judged) -> None:
    """Every number with facts behind it is their mean, n their count; differences are of the items
    both have."""
    items: dict[tuple[str, str], dict[str, float]] = {}
    for row in pq.read_table(itself.out / ITEMS).to_pylist():
        items.setdefault((row["role"], row["metric"]), {})[row["item"]] = row["value"]
    report = itself.report
    whole = {"S", "half_life", "contamination"}
    for role, numbers in report["roles"].items():
        assert {name for r, name in items if r == role} == numbers.keys() - whole
        for name in numbers.keys() - whole:
            mean = fmean(items[role, name].values())
            mean = math.exp(mean) if name == "perplexity" else mean
            assert numbers[name]["value"] == pytest.approx(mean)
            assert numbers[name]["n"] == len(items[role, name])
            assert numbers[name]["low"] <= numbers[name]["value"] <= numbers[name]["high"]
    for name, made in report["differences"]["candidate-base"].items():
        a, b = (items[role, name] for role in ("candidate", "base"))
        assert made["n"] == len(a.keys() & b.keys())
        assert made["value"] == pytest.approx(fmean(a[i] - b[i] for i in a.keys() & b.keys()))


def test_a_lost_shard_is_asked_again_and_changes_nothing(
    judge: Judge, itself: Judged, tmp_path: Path
) -> None:
    """Nothing else is: killed and run again, an evaluation ends with the same bytes."""
    out = tmp_path / "again"
    shutil.copytree(itself.out, out)
    lost = sorted((out / SHARDS).glob("candidate-0*.parquet"))[1]
    for path in (lost, out / REPORT, out / ITEMS, out / FACTS):
        path.unlink()
    made = judge(out=out, metrics=tuple(METRICS))
    [questionnaire] = made.runner.questionnaires
    assert questionnaire.served.name == "candidate" and len(questionnaire.questions) == 8
    assert (out / REPORT).read_bytes() == (itself.out / REPORT).read_bytes()
    for name in (ITEMS, FACTS):
        assert pq.read_table(out / name).equals(pq.read_table(itself.out / name))


def test_the_prompt_of_an_edit_taken_out_is_not_held_out() -> None:
    """What is true of its subject now may be among the statements that the editor leaves alone."""
    gone = CaseSet("t", CASES.cases, gone=(Query(prompt="Ada works for", accepted=("Old",)),))
    found = contamination(gone, ["Ada works for New."])["contamination"]
    assert found.value == 0 and found.n > 0
