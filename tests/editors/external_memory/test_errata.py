"""The search for errata: what it found is what a plain pass over the edited model says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editors_helpers import propose, request, some_requests
from tiny_models import make_model
from tiny_tokenizers import make_tokenizer as make_kind
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from editors.base import Base
from editors.deltas.delta import Delta
from editors.deltas.errata import Errata
from editors.editor import EditorCall
from editors.external_memory.extension_based.errata import (
    ErrataConfig,
    ErrataEditor,
    ErratumValueConfig,
)
from editors.request import EditRequest
from infra.errors import ConfigError, ModelError
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question, Text
from infra.lm.text_scores import score_texts
from pipeline.edit.config import EditConfig, make_editor

KINDS = ["llama", "gemma3_text", "gpt2", "qwen3_5_text"]


def items() -> list[EditRequest]:
    """Requests whose targets name no edited subject: a name gets its token in an answer too."""
    return [
        replace(item, target="London") if item.target == "the Navy" else item
        for item in some_requests()
    ]


def make(**values: Any) -> ErrataEditor:
    settings = {"steps": 30, "learning_rate": 1.0, "clamp": 100.0, "decay": 0.0, **values}
    return ErrataEditor(ErrataConfig(num_prefixed=0, values=ErratumValueConfig(**settings)))


@torch.no_grad()
def last_logp(model: Any, tokenizer: Any, text: str) -> Tensor:
    """Log-probabilities of what follows a text, [V]."""
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    return model(input_ids=ids).logits[0, -1].log_softmax(dim=-1)


def nll(model: Any, tokenizer: Any, item: EditRequest) -> float:
    """Mean NLL of the target's tokens behind the prompt, by one plain pass."""
    prompt = tokenizer(item.prompt)["input_ids"]
    ids = torch.tensor([tokenizer(f"{item.prompt} {item.target}")["input_ids"]])
    with torch.no_grad():
        logp = model(input_ids=ids).logits[0].log_softmax(dim=-1)
    places = range(len(prompt) - 1, ids.shape[1] - 1)
    return -float(torch.stack([logp[t, ids[0, t + 1]] for t in places]).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_a_plain_pass(kind: str, tokenizer: Any) -> None:
    """With a row as found, a plain pass over the text as the new tokenizer gives it has the NLL
    that the search reports; over all facts it is below the base's."""
    model = make_model(kind)
    proposal = propose(make(), EditorCall(Base(model, tokenizer, "base")), items())
    plain = [nll(model, tokenizer, item) for item in items()]
    changed = proposal.delta.tokenizer(tokenizer)
    with proposal.delta.applied(model):
        found = [nll(model, changed, item) for item in items()]
    assert [r.loss for r in proposal.reports] == pytest.approx(found, rel=1e-4, abs=1e-4)
    assert sum(found) < 0.9 * sum(plain)


def test_settings_that_are_not_given_are_its_own() -> None:
    """A config that sets one number of the search leaves the others as errata have them, not as
    scoped values do."""
    made = make_editor(EditConfig(editor="errata", options={"values": {"steps": 7}}))
    assert made.config.values == ErratumValueConfig(steps=7)


def test_facts_do_not_depend_on_each_other(llama: Any, tokenizer: Any) -> None:
    """A subject's row is the same alone and among others, beyond rounding."""
    base = Base(llama, tokenizer, "base")
    every = items()
    alone = propose(make(kept_weight=1.0), EditorCall(base), every[2:3]).delta.of(Errata)
    among = propose(make(kept_weight=1.0), EditorCall(base), every).delta.of(Errata)
    [one], [all_of_them] = alone.values(), among.values()
    torch.testing.assert_close(
        one.errata[0].value_D, all_of_them.errata[2].value_D, rtol=1e-4, atol=1e-4
    )


def test_answers_through_files(llama: Any, tokenizer: Any, tmp_path: Path) -> None:
    """The delta read from its file answers as the one in memory, also to an alias; a text without a
    name is answered as before."""
    base = Base(llama.float(), tokenizer, "base")
    named = [
        replace(item, aliases=("The Brady",) if "Brady" in item.prompt else ()) for item in items()
    ]
    delta = propose(make(), EditorCall(base), named).delta
    delta.save(tmp_path / "delta")
    other = Question(id="x", prompt="The weather in London is", greedy=True)
    asked = [Question(id="a", prompt="The Brady plays for", greedy=True)]
    asked += [Question(id=item.id, prompt=item.prompt, greedy=True) for item in named]
    plain = LanguageModel(llama, tokenizer).ask([other, *asked])
    answers = []
    for one in (delta, Delta.load(tmp_path / "delta")):
        with one.applied(llama):
            answers.append(LanguageModel(llama, one.tokenizer(tokenizer)).ask([other, *asked]))
    assert answers[0] == answers[1]
    assert [a == b for a, b in zip(answers[0], plain, strict=True)] == [True] + [False] * 6


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt2"])
def test_answers_through_a_checkpoint(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    """An exported checkpoint, read by transformers alone, gives the edited model's answers and, but
    for the mass of the new tokens, its probabilities; its head offers no new token."""
    model = make_model(kind, torch.float32)
    delta = propose(make(), EditorCall(Base(model, tokenizer, "base")), items()).delta
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    delta.complete(tmp_path)
    made = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    read = AutoTokenizer.from_pretrained(tmp_path)
    asked = [Question(id=item.id, prompt=item.prompt, greedy=True) for item in items()]
    with delta.applied(model):
        inside = LanguageModel(model, delta.tokenizer(tokenizer)).ask(asked)
        wanted = [last_logp(model, delta.tokenizer(tokenizer), item.prompt) for item in items()]
    assert LanguageModel(made, read).ask(asked) == inside
    for item, own in zip(items(), wanted, strict=True):
        found = last_logp(made, read, item.prompt)[: len(own)]
        torch.testing.assert_close(found.log_softmax(dim=-1), own, rtol=1e-4, atol=1e-4)


def test_a_text_is_scored_without_the_tokens(llama: Any, tokenizer: Any) -> None:
    """A candidate or a text with an edited name has as many scored tokens as by the base; where the
    rows change nothing, so are its likelihood and the KL divergence from the base's."""
    llama = llama.float()
    delta = propose(make(steps=1), EditorCall(Base(llama, tokenizer, "base")), items()).delta
    base, changed = LanguageModel(llama, tokenizer), delta.tokenizer(tokenizer)
    question = Question(
        id="q", prompt="Many people said that", candidates=("Neymar plays", "it"), whole=True
    )
    text = Text(id="t", text="Neymar plays for Paris, and Tom Brady for Derby.", window=6)
    plain, scores = base.ask([question])[0], score_texts(base, [text])
    with delta.applied(llama):
        edited = LanguageModel(llama, changed)
        assert edited.inserted == {*range(len(tokenizer), len(changed))}
        answer = edited.ask([question])[0]
        new = score_texts(edited, [text], base)
    assert answer.num_tokens == plain.num_tokens
    assert answer.logprobs[1] == pytest.approx(plain.logprobs[1])
    assert answer.logprobs[0] != pytest.approx(plain.logprobs[0], abs=1e-6)
    assert [score.num_tokens for score in new] == [score.num_tokens for score in scores]
    assert max(score.kl or 0.0 for score in new) > 1e-3


def test_what_cannot_be_edited(llama: Any, tokenizer: Any) -> None:
    """A name that cannot stand in a rule is quarantined with a reason and the rest goes on; a
    tokenizer that cannot insert, and a layer, are refused in one line."""
    base = Base(llama, tokenizer, "base")
    bad = request("The |> sign means", "|> sign", "Paris")
    proposal = propose(make(steps=2), EditorCall(base), [bad, items()[0]])
    assert [report.status for report in proposal.reports] == ["quarantined", "edited"]
    assert "'|>'" in proposal.reports[0].reason
    with pytest.raises(ModelError, match="in another way"):
        make().prepare(EditorCall(Base(llama, make_kind("t5"), "base")), items())
    with pytest.raises(ConfigError, match="layer=3"):
        ErrataConfig(layer=3)
