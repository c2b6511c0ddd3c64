"""Capability: the same numbers as lm-evaluation-harness by itself, item by item."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from evaluate_helpers import GivenCandidate
from safetensors.torch import save_file

from infra.execution.runner import InProcessRunner
from infra.lm.inference import Compute, ServedModel
from infra.lm.language_model import LanguageModel
from infra.models.embedded import EMBEDDED
from infra.models.loading import ModelRef, load, locate
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir
from pipeline.evaluate.capability.measure import harness_task, judged, measure_capability, scores
from pipeline.evaluate.capability.tasks import CARRIED, CapabilityTask, Item, read_tasks
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.output import ITEMS, REPORT
from pipeline.evaluate.scoring.report import differences, summary
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.export.candidate import Candidate
from pipeline.gate.bounds import GateConfig
from pipeline.gate.checks import check

lm_eval = pytest.importorskip(
    "lm_eval", reason="lm-evaluation-harness is not installed: pip install 'corrigenda[capability]'"
)
WORDS = ("London", "Paris", "Navy", "Derby", "weather", "plays", "works", "people", "cold", "warm")


def made_up(num_items: int) -> CapabilityTask:
    """Questions without sense: a random model has its likeliest answer to each."""
    rng = random.Random(0)
    items = [
        Item(
            query=" ".join(rng.sample(WORDS, rng.randint(2, 6))),
            choices=tuple(" ".join(rng.sample(WORDS, rng.randint(1, 3))) for _ in range(4)),
            gold=rng.randrange(4),
        )
        for _ in range(num_items)
    ]
    return CapabilityTask("made_up", tuple(items))


def by_the_harness(task: CapabilityTask, model: Any, tokenizer: Any) -> list[dict[str, Any]]:
    """Items as the harness's own evaluation and its own Hugging Face model find them."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    wrapper: Any = HFLM
    found: Any = evaluate(
        wrapper(pretrained=model, tokenizer=tokenizer, batch_size=4),
        {"tasks": {task.name: harness_task(task)}},
        bootstrap_iters=0,
    )
    return [
        {"item": f"{task.name}/{s['doc_id']}", "acc": s["acc"], "acc_norm": s["acc_norm"]}
        for s in found["samples"][task.name]
    ]


def upstream(task: CapabilityTask, item: Item) -> tuple[Path, dict[str, Any]]:
    """The harness's own task file for an item, and the item as that task's dataset has it."""
    tasks = Path(lm_eval.__file__).parent / "tasks"
    question = item.query.removeprefix("Question: ").removesuffix("\nAnswer:")
    labelled = {"text": list(item.choices), "label": list("ABCD")}
    if task.name == "openbookqa":
        doc = {"question_stem": item.query, "choices": labelled, "answerKey": "ABCD"[item.gold]}
        return tasks / "openbookqa" / "openbookqa.yaml", doc
    if task.name != "mmlu":
        doc = {"question": question, "choices": labelled, "answerKey": "ABCD"[item.gold]}
        return tasks / "arc" / f"{task.name}.yaml", doc
    said, _, rest = item.query.partition("\n\n")
    subject = said.split("about ")[1].removesuffix(".").replace(" ", "_")
    question, *choices = re.split(r"\n[A-D]\. ", rest.removesuffix("\nAnswer:"))
    doc = {"question": question, "choices": choices, "answer": item.gold}
    return tasks / "mmlu" / "default" / f"mmlu_{subject}.yaml", doc


def upstream_task(path: Path, doc: dict[str, Any]) -> Any:
    """The harness's task file over one item instead of its dataset."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    data = {"test": Dataset.from_list([doc])}
    changed = {"training_split": None, "validation_split": None, "test_split": "test"}
    changed |= {"fewshot_split": None, "fewshot_config": None, "num_fewshot": 0}
    return ConfigurableTask(
        config={**config_of(path), **changed, "tag": None, "custom_dataset": lambda **_: data}
    )


def requests(task: Any, doc: Any) -> list[tuple[str, str]]:
    """Context and continuation of every choice."""
    context = task.fewshot_context(doc, 0)
    made = task.construct_requests(doc, context, metadata=("", 0, 1))
    return [request.args for request in made]


def config_of(path: Path) -> dict[str, Any]:
    """A task file of the harness with what it includes."""
    config = yaml.safe_load(path.read_text())
    included = config.pop("include", None)
    return {**(config_of(path.parent / included) if included else {}), **config}


@pytest.mark.parametrize("name", CARRIED)
def test_prompts_and_answers_are_the_harnesss_own(name: str) -> None:
    """Its task of that name makes the same requests of the item in its dataset's form, and takes
    the same choice for the right one."""
    [task] = read_tasks([name], 100)
    ours = harness_task(task)
    for item, doc in list(zip(task.items, ours.eval_docs, strict=True))[::5]:
        theirs = upstream_task(*upstream(task, item))
        [row] = theirs.eval_docs
        assert requests(ours, doc) == requests(theirs, row)
        assert ours.doc_to_target(doc) == theirs.doc_to_target(row)


def test_items_are_judged_as_by_the_harness_itself(checkpoint: Callable[[str], Path]) -> None:
    """Its own evaluation, prompt and answer in one pass each, finds every item the same."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    task = made_up(40)
    ours = judged(task, LanguageModel(model, tokenizer))
    assert ours == by_the_harness(task, model, tokenizer)
    assert 0 < sum(row["acc"] for row in ours) < 40
    assert any(row["acc"] != row["acc_norm"] for row in ours)


def test_tasks_weigh_alike_in_the_mean() -> None:
    """`capability` is the mean of the tasks' means, over all their items."""
    easy, hard = (CapabilityTask(name, made_up(4).items) for name in ("easy", "hard"))
    rows = {
        name: [{"item": f"{name}/{i}", "acc": float(i < k), "acc_norm": 1.0} for i in range(4)]
        for name, k in (("easy", 3), ("hard", 1))
    }
    made = scores([easy, hard], rows)
    found = {name: measure.metric() for name, measure in made.items()}
    assert [found[f"capability/{name}"].value for name in ("easy", "hard")] == [0.75, 0.25]
    assert (found["capability"].value, found["capability"].n) == (0.5, 8)
    assert found["capability_norm/hard"].value == 1
    assert found["capability/easy"].protocol != found["capability/hard"].protocol
    assert f"{easy.label}+{hard.label}/lm_eval=" in found["capability"].protocol


def test_an_evaluation_measures_base_and_candidate(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Both roles have every number, items are paired, and a model compared with itself differs by
    exactly nothing; the gate reads the difference."""
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(item.model_dump_json() + "\n" for item in made_up(12).items))
    path = checkpoint("llama")
    out = StageDir(tmp_path)
    inputs = EvaluateInputs(
        cases=CaseSet("none", ()),
        base=ModelRef("base", path, "digest"),
        parent=None,
        edited=GivenCandidate(Candidate(served=ServedModel(name="candidate", path=path))),
        config=EvaluateConfig(metrics=(), capability=(f"mine={file}",), capability_limit=10),
        compute=Compute(),
    )
    evaluate(inputs, out, InProcessRunner())
    made = Artifact(tmp_path, {})
    report, items = made.json(REPORT), made.table(ITEMS)
    for role in ("base", "candidate"):
        assert report["roles"][role]["capability/mine"]["n"] == 10
        rows = [r for r in items.to_pylist() if r["role"] == role and r["metric"] == "capability"]
        assert [row["item"] for row in rows] == [f"mine/{i}" for i in range(10)]
    change = report["differences"]["candidate-base"]["capability"]
    assert (change["value"], change["low"], change["high"], change["n"]) == (0, 0, 0, 10)
    [read] = [c for c in check(report, 0.0, GateConfig()) if c.name == "capability_drop"]
    assert (read.state, read.value, read.n) == ("pass", 0, 10)


@pytest.mark.slow
def test_a_destroyed_layer_fails_the_gate(tmp_path: Path) -> None:
    """On the real model: a layer of noise costs what the base could do, and the gate says so; the
    base again is itself, item by item."""
    path = locate(EMBEDDED).path
    model, _ = load(path, dtype=torch.float32)
    name = "model.layers.3.mlp.down_proj.weight"
    weight = model.get_parameter(name)
    torch.manual_seed(0)
    save_file({name: torch.randn_like(weight) * weight.std() * 10}, tmp_path / "noise.safetensors")
    who = {
        "base": ServedModel(name="base", path=path),
        "parent": ServedModel(name="again", path=path),
        "candidate": ServedModel(
            name="candidate", path=path, weights=tmp_path / "noise.safetensors"
        ),
    }
    made = measure_capability(
        InProcessRunner(),
        StageDir(tmp_path),
        list(who.values()),
        read_tasks(["arc_easy"], 60),
        compute=Compute(),
    )
    roles = {role: made[served.name] for role, served in who.items()}
    for metric, measured in roles["base"].items():
        assert measured.items == roles["parent"][metric].items
    report = {
        "families": [],
        "left_out": {},
        "data": {"name": "none", "digest": "", "cases": 0},
        "roles": {role: summary(found) for role, found in roles.items()},
        "differences": differences(roles, CaseSet("none", ())),
        "relations": {},
    }
    assert report["roles"]["base"]["capability"]["low"] > 0.25  # four choices
    [failed] = [c for c in check(report, 0.0, GateConfig()) if c.name == "capability_drop"]
    assert (failed.state, failed.blocks) == ("fail", True)
    assert failed.low is not None and failed.low > 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arc_easy", "mmlu"])
def test_the_real_model_is_judged_as_by_the_harness_itself(name: str) -> None:
    """Twenty items, by the harness's own model wrapper in whole passes."""
    model, tokenizer = load(locate(EMBEDDED).path, dtype=torch.float32)
    [task] = read_tasks([name], 20)
    ours = judged(task, LanguageModel(model, tokenizer))
    assert ours == by_the_harness(task, model, tokenizer)
