"""Likelihood of texts, KL divergence and drift equal what is computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from infra.lm.language_model import LanguageModel
from infra.lm.question import Text
from infra.lm.text_scores import score_texts
from infra.models.loading import load


def test_nll_is_the_models_loss(checkpoint: Callable[[str], Path]) -> None:
    """Summed over a text, tokens counted; in windows, each by itself, the rest left."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    text = "The weather in London is cold."
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    lm = LanguageModel(model, tokenizer)
    [whole] = score_texts(lm, [Text(id="x", text=text)])
    assert whole.num_tokens == ids.shape[1] - 1 and whole.kl is None
    assert whole.nll / whole.num_tokens == pytest.approx(
        float(model(ids, labels=ids).loss), rel=1e-4
    )
    windows = score_texts(lm, [Text(id="w", text=text, window=3)])
    assert [w.id for w in windows] == [f"w/{i}" for i in range(ids.shape[1] // 3)]
    first = model(ids[:, :3], labels=ids[:, :3]).loss
    assert windows[0].nll / 2 == pytest.approx(float(first), rel=1e-4)


def test_drift_is_the_kl_divergence_from_the_reference(checkpoint: Callable[[str], Path]) -> None:
    """Σ p0 log(p0/p) position by position, by hand; zero of the model itself; energy is the share
    of a changed module's output that moved."""
    model, tokenizer = load(checkpoint("llama"), dtype=torch.float32)
    other, _ = load(checkpoint("llama"), dtype=torch.float32)
    projection = other.model.layers[1].mlp.down_proj
    with torch.no_grad():
        projection.weight.mul_(1.5)
    text = Text(id="x", text="The weather in London is cold.")
    base, edited = LanguageModel(model, tokenizer), LanguageModel(other, tokenizer)
    [same] = score_texts(base, [text], reference=base)
    assert same.kl == pytest.approx(0, abs=1e-6) and same.energy == 0
    [moved] = score_texts(edited, [text], reference=base)
    ids = tokenizer(text.text, return_tensors="pt")["input_ids"]
    p0, p = (m(ids).logits[0, :-1].float().softmax(-1).double() for m in (model, other))
    expected = float((p0 * (p0 / p).log()).sum())
    assert moved.kl == pytest.approx(expected, rel=1e-3) and expected > 1e-4
    assert moved.energy == pytest.approx(0.25, rel=1e-4)


def test_a_text_without_predictions_gets_no_score(checkpoint: Callable[[str], Path]) -> None:
    """One token predicts nothing: the texts beside it keep their scores."""
    lm = LanguageModel(*load(checkpoint("llama"), dtype=torch.float32))
    texts = [Text(id="empty", text=""), Text(id="x", text="The weather in London is cold.")]
    assert [score.id for score in score_texts(lm, texts)] == ["x"]
