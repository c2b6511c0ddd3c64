"""The evaluation of a model with a chat template, and of one without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluate_helpers import CASES, SMALL, GivenCandidate, Says, Watching

from infra.errors import ModelError
from infra.lm.inference import Compute, ServedModel
from infra.models.loading import ModelRef
from infra.storage.identity import identity_of
from infra.storage.stage_dir import StageDir
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.output import REPORT
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.export.candidate import Candidate

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<end>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@pytest.fixture()
def chatty(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model's directory with a chat template."""
    path = Path(shutil.copytree(checkpoint("llama"), tmp_path / "chatty"))
    (path / "chat_template.jinja").write_text(TEMPLATE)
    return path


def inputs_of(
    path: Path, *, parent: str | None = None, system: str | None = None, **settings: Any
) -> EvaluateInputs:
    """The base as its own candidate; `parent` says one token over and over."""
    served = ServedModel(name="candidate", path=path)
    before = replace(served, name="parent", attach=Says(parent)) if parent else None
    return EvaluateInputs(
        cases=CASES,
        base=ModelRef("base", path, "digest"),
        parent=before,
        edited=GivenCandidate(Candidate(served=served, memory=replace(served, name="memory"))),
        config=EvaluateConfig(**{**SMALL, "metrics": ("generation", "chat"), **settings}),
        compute=Compute(shard_size=8, max_new_tokens=4),
        system=system,
    )


def judged(inputs: EvaluateInputs, out: Path) -> tuple[dict[str, Any], Watching]:
    """The report, and the runner, which knows what was asked."""
    runner = Watching()
    evaluate(inputs, StageDir(out), runner)
    return json.loads((out / REPORT).read_text()), runner


def test_a_chat_is_asked_beside_the_text(chatty: Path, tmp_path: Path) -> None:
    """Every number has its n, interval and protocol, and its differences; the parent is asked about
    facts, the base told the fact about all but plain messages, the model in memory not at all."""
    inputs = inputs_of(chatty, parent="Z", context=True, chat_tokens=4)
    report, runner = judged(inputs, tmp_path / "out")
    found = report["roles"]["candidate"]
    assert report["left_out"] == {} and "chat" in report["families"]
    named = {name for name in found if name.startswith("chat_")}
    assert named == {
        *("chat_reliability", "chat_generality", "chat_superseded", "chat_ES", "chat_PS"),
        *("chat_near_agreement", "chat_subject_agreement", "chat_plain_agreement"),
    }
    for name in named:
        assert found[name]["n"] and found[name]["low"] <= found[name]["value"]
        assert "/prompt=chat/" in found[name]["protocol"]
        if "agreement" in name:
            assert found[name]["value"] == 1
    assert found["chat_plain_agreement"]["n"] == 2
    parent = report["roles"]["parent"]
    assert parent["chat_reliability"]["value"] == 1  # it says Z over and over: the target is ZZZZ
    change = report["differences"]["candidate-parent"]["chat_reliability"]
    assert (change["value"], change["n"]) == (-1, 1)
    assert named <= report["differences"]["candidate-base"].keys()
    asked = {name: runner.prompts(name) for name in ("base", "parent", "context", "memory")}
    assert {i for i in asked["parent"] if i.startswith("chat")} == {
        "chat/Tom Brady/0",
        "chat/Tom Brady/1",
    }
    assert not [i for i in asked["memory"] if i.startswith("chat")]
    assert "chat-plain/0" in asked["base"] and "chat-plain/0" not in asked["context"]
    assert asked["context"]["chat/Tom Brady/0"] == (
        "Tom Brady plays for ZZZZ.\nWho does Tom Brady play for?"
    )


def test_the_system_prompt_is_asked_with_and_identifies_the_evaluation(
    chatty: Path, tmp_path: Path
) -> None:
    """In every question of a chat and in none of a text, and in the protocol."""
    plain, set_up = inputs_of(chatty), inputs_of(chatty, system="Be brief.")
    assert identity_of(plain) != identity_of(set_up)
    report, runner = judged(set_up, tmp_path / "out")
    asked = [q for questionnaire in runner.questionnaires for q in questionnaire.questions]
    assert {(q.chat, q.system) for q in asked} == {(True, "Be brief."), (False, None)}
    assert "system=" in report["roles"]["base"]["chat_reliability"]["protocol"]
    assert "system=" not in report["roles"]["base"]["reliability"]["protocol"]


def test_without_a_template_nothing_is_asked_in_a_chat(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """The report says why; the other families are measured."""
    report, runner = judged(inputs_of(checkpoint("llama")), tmp_path / "out")
    assert report["left_out"] == {"chat": "the tokenizer has no chat template"}
    assert report["families"] == ["generation"]
    assert not [i for i in runner.prompts("base") if i.startswith("chat")]
    assert "reliability" in report["roles"]["candidate"]


def test_a_template_that_cannot_be_filled_is_one_line(chatty: Path, tmp_path: Path) -> None:
    (chatty / "chat_template.jinja").write_text("{{ raise_exception('no chat today') }}")
    with pytest.raises(ModelError, match="no chat today") as caught:
        judged(inputs_of(chatty), tmp_path / "out")
    assert "\n" not in str(caught.value)
