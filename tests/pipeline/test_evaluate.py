"""The evaluate stage on a tiny model: what moved is seen, what did not is not, and nothing else."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from tiny_models import make_tokenizer

from infra.checkpoint import Checkpoint
from infra.errors import ConfigError
from infra.examine import Compute, Exam, Examinee, Paper
from infra.lm import Answer
from infra.runner import InProcessRunner, Resources
from infra.storage import SHARDS, StageDir
from pipeline.cases import Case, CaseSet, Criterion, MultiHop, Query
from pipeline.evaluate import (
    FACTS,
    ITEMS,
    REPORT,
    Candidate,
    contamination,
    evaluate,
    exam_questions,
    exam_texts,
    lost_in_export,
)
from pipeline.metrics.family import EvaluateConfig

CHANGED = "model.layers.1.mlp.down_proj.weight"
SMALL: dict[str, Any] = {
    "text_chars": 2000,
    "num_neutral": 2,
    "agreement_tokens": 4,
    "neutral_tokens": 4,
}
Judge = Callable[..., "Judged"]


def case(name: str, target: str, **settings: Any) -> Case:
    defaults: dict[str, Any] = {
        "id": name,
        "relation": "P54",
        "subject": name,
        "prompt": f"{name} plays for",
        "subject_start": 0,
        "target": target,
        "accepted": (target,),
        "old": ("Derby County",),
        "paraphrases": (f"The club of {name} is", f"{name} is with"),
        "near": (
            Query(prompt="Wayne Rooney plays for", accepted=("Derby",), rivals=(target,)),
            Query(prompt="Grace Hopper works for", accepted=("the Navy",), rivals=(target,)),
        ),
        "same_subject": (Query(prompt=f"{name} was born in", accepted=()),),
        "portability": {"one_hop": (Query(prompt=f"{name} lives in", accepted=("London",)),)},
    }
    return Case(**{**defaults, **settings})


CASES = CaseSet(
    "tiny",
    [
        case("Tom Brady", "ZZZZ"),
        case("Neymar", "London", relation="P108"),
        case("Ada Lovelace", "ZZZZ", relation="P108"),
        case("Tim Cook", "Paris", new=False, order=-1),
    ],
    gone=[Query(prompt="Ada works for", accepted=("the Navy",))],
)
NUM_FORMS = sum(1 + len(c.paraphrases) for c in CASES.cases)


@dataclass(frozen=True)
class Says:
    """Makes a model say one token over and over."""

    token: str

    def __call__(self, model: Any) -> None:
        [token_id] = make_tokenizer()(self.token)["input_ids"]

        def hook(_: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            output[..., token_id] += 1e4
            return output

        model.get_output_embeddings().register_forward_hook(hook)


class Watching(InProcessRunner):
    """Remembers every exam that was put to a model."""

    def __init__(self) -> None:
        super().__init__()
        self.exams: list[Exam] = []

    def map(
        self, make_worker: Callable[[], Any], shards: Sequence[Any], *, resources: Resources
    ) -> Iterator[Any]:
        self.exams += [payload for payload, _ in shards]
        return super().map(make_worker, shards, resources=resources)

    def prompts(self, name: str) -> dict[str, str]:
        """What a model was asked, by the questions' ids."""
        exams = [exam for exam in self.exams if exam.examinee.name == name]
        return {q.id: q.prompt for exam in exams for q in exam.questions}


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
    base = Examinee(name="base", path=checkpoint("llama"))

    def run(
        candidate: Candidate | None = None,
        *,
        cases: CaseSet = CASES,
        parent: Examinee | None = None,
        seen: Iterable[str] = (),
        out: Path | None = None,
        **settings: Any,
    ) -> Judged:
        directory = out or tmp_path_factory.mktemp("evaluate")
        runner = Watching()
        returned = evaluate(
            cases,
            base=base,
            parent=parent,
            candidate=candidate or Candidate(served=replace(base, name="candidate")),
            seen=seen,
            config=EvaluateConfig(**{**SMALL, **settings}),
            compute=Compute(shard_size=8, max_new_tokens=4),
            out=StageDir(directory),
            runner=runner,
        )
        return Judged(directory, runner, returned)

    return run


@pytest.fixture(scope="module")
def itself(judge: Judge) -> Judged:
    """The base as its own candidate."""
    return judge()


def test_the_base_is_as_good_as_itself(itself: Judged) -> None:
    """All continuations are its own, nothing drifted, and every difference is 0 without width."""
    found = itself.candidate
    for name in ("near_agreement", "subject_agreement", "neutral_agreement"):
        assert found[name]["value"] == 1 and found[name]["n"]
    assert found["kl"]["value"] == found["energy"]["value"] == 0
    differences = itself.report["differences"]["candidate-base"]
    assert {"reliability", "ES", "PS", "NS", "perplexity", "ME-PPL", "leak"} <= differences.keys()
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
    served = Examinee(name="candidate", path=tmp_path / "edited")
    made = judge(Candidate(served=served, edited=(CHANGED,)))
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
    hop = MultiHop(
        id="m", case_ids=("Neymar",), questions=("Where?",), accepted=("London",), hops=()
    )
    cases = replace(CASES, multi_hop=[hop])
    made = judge(context=True, cases=cases, metrics=("generation", "locality", "multi_hop"))
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
    says_z = Examinee(name="parent", path=checkpoint("llama"), attach=Says("Z"))
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


def test_a_fact_known_in_memory_and_lost_as_served_is_counted(
    judge: Judge, checkpoint: Callable[[str], Path]
) -> None:
    """Of those known in memory the share that the served model does not answer."""
    plain = Examinee(name="candidate", path=checkpoint("llama"))
    memory = replace(plain, name="memory", attach=Says("Z"))
    for served, loss in ((plain, 1.0), (replace(plain, attach=Says("Z")), 0.0)):
        made = judge(Candidate(served=served, memory=memory), metrics=("generation",))
        assert made.candidate["export_loss"]["value"] == loss
        assert made.candidate["export_loss"]["n"] == 2
        assert all(i.endswith("/0") for i in made.runner.prompts("memory"))
        assert made.candidate["reliability"]["value"] == pytest.approx((1 - loss) * 2 / 3)


def test_export_loss_is_a_share_of_what_was_known() -> None:
    """Three known of four, one of them lost; a fact that only the served model knows is no gain."""

    def paper(**said: str) -> Paper:
        return Paper(
            {
                f"edit/{c.id}/0": Answer(id="", logprobs=(), num_tokens=(), greedy=text)
                for c, text in zip(CASES.cases, said.values(), strict=True)
            },
            {},
        )

    memory = paper(a="ZZZZ", b="London", c="ZZZZ too", d="no")
    served = paper(a="ZZZZ", b="Londoner", c="zzzz", d="Paris")
    found = lost_in_export(CASES, memory, served)["export_loss"]
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
    made = judge(out=out)
    [exam] = made.runner.exams
    assert exam.examinee.name == "candidate" and len(exam.questions) == 8
    assert (out / REPORT).read_bytes() == (itself.out / REPORT).read_bytes()
    for name in (ITEMS, FACTS):
        assert pq.read_table(out / name).equals(pq.read_table(itself.out / name))


NUM_QUESTIONS = {
    "preference": NUM_FORMS + 8,
    "teacher_forced": NUM_FORMS,
    "generation": NUM_FORMS + 1,
    "locality": 8 + 4 + 2,
    "portability": 4,
    "retention": 4,
    "ripple": 2 + 3,
    "multi_hop": 2 + 1,
    "fluency": 1,
    "text": 0,
    "weights": 0,
}


def test_families_left_out_are_not_asked() -> None:
    """Each asks its own number of questions, all together each question once, and text is read for
    its own family only."""
    first, *rest = CASES.cases
    criterion = Criterion(
        kind="preservation",
        queries=(("It is", (("a",),)), ("Is it", (("b",),))),
        conditions=(("It was", (("a",),)),),
    )
    essays = ("Tom Brady is known for", "Tom Brady was")
    first = replace(first, criteria=(criterion,), essays=essays)
    second = replace(rest[0], criteria=(replace(criterion, queries=(), conditions=()),))
    hop = MultiHop(
        id="m",
        case_ids=("Neymar",),
        questions=("Where?", "In?"),
        accepted=("London",),
        hops=(Query(prompt="It is in", accepted=("London",)),),
    )
    cases = CaseSet("tiny", [first, second, *rest[1:]], CASES.gone, [hop])
    asked: dict[str, set[str]] = {}
    for name, number in NUM_QUESTIONS.items():
        config = EvaluateConfig(**SMALL, metrics=(name,))
        asked[name] = {q.id for q in exam_questions(cases, config)}
        assert len(asked[name]) == number, name
        assert bool(exam_texts(config)) == (name == "text")
    together = exam_questions(cases, EvaluateConfig(**SMALL, metrics=tuple(NUM_QUESTIONS)))
    assert len(together) == len({q.id for q in together})
    assert {q.id for q in together} == set().union(*asked.values())


def test_an_unknown_family_is_refused_by_name() -> None:
    """And the nearest known one is named."""
    config = EvaluateConfig(metrics=("preference", "localty"))
    with pytest.raises(ConfigError, match=r"'localty' is unknown \(did you mean 'locality'\?\)"):
        exam_questions(CASES, config)
