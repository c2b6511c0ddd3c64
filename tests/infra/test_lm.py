"""Scores and greedy answers equal those of the plain model, however they are batched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.lm import LanguageModel, Question
from infra.models import load

KINDS = ["llama", "qwen3", "gemma2", "gpt2", "gpt_neox"]
QUESTIONS = [
    Question(
        id="a", prompt="Tom Brady plays for", candidates=("Paris", "the Navy", "Derby"), greedy=True
    ),
    Question(id="b", prompt="The capital of France is", candidates=("Paris",)),
    Question(id="c", prompt="Neymar", greedy=True),
    Question(
        id="d", prompt="Ada Lovelace works for", candidates=("the Navy", "the Navy in London")
    ),
]


def reference(model: Any, tokenizer: Any, prompt: str, candidate: str) -> float:
    """log p of the candidate's tokens, from one plain forward of the whole text."""
    ids = tokenizer(f"{prompt} {candidate}", return_tensors="pt")["input_ids"]
    start = len(tokenizer(prompt)["input_ids"])
    logp = torch.log_softmax(model(ids).logits[0], -1)
    return sum(float(logp[t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_equal_the_plain_model(kind: str, checkpoint: Callable[[str], Path]) -> None:
    """Prefix sharing, padding and branching change nothing: likelihoods and greedy tokens agree."""
    model, tokenizer = load(checkpoint(kind), dtype=torch.float32)
    answers = LanguageModel(model, tokenizer).ask(QUESTIONS, max_new_tokens=5)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        expected = [reference(model, tokenizer, question.prompt, c) for c in question.candidates]
        assert answer.logprobs == pytest.approx(expected, abs=2e-4)
        if question.greedy:
            ids = tokenizer(question.prompt, return_tensors="pt")
            said = model.generate(
                **ids, max_new_tokens=5, do_sample=False, use_cache=False, pad_token_id=0
            )[0, ids["input_ids"].shape[1] :].tolist()
            assert list(answer.greedy_ids) == said[: len(answer.greedy_ids)]
            assert answer.greedy_ids or said[0] in LanguageModel(model, tokenizer)._stop_ids


def test_batches_do_not_matter(checkpoint: Callable[[str], Path]) -> None:
    """One question at a time gives what all at once give."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    together = LanguageModel(model, tokenizer).ask(QUESTIONS)
    alone = [LanguageModel(model, tokenizer, max_rows=1).ask([q])[0] for q in QUESTIONS]
    for a, b in zip(together, alone, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=2e-4)
        assert a.greedy_ids == b.greedy_ids


def test_nll_is_the_models_loss(checkpoint: Callable[[str], Path]) -> None:
    """Summed over windows, tokens counted."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    text = "The weather in London is cold."
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    total, count = LanguageModel(model, tokenizer).nll([text])
    assert count == ids.shape[1] - 1
    assert total / count == pytest.approx(float(model(ids, labels=ids).loss), rel=1e-4)
