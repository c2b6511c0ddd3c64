"""Statistics do not depend on batches or shards, equal a plain loop, and survive a file."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import TEXTS, make_model

from editors.statistics.key_moments import Statistics, fit, gram
from infra.errors import EditError


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj"])
def test_equals_one_text_at_a_time(kind: str, tokenizer: Any) -> None:
    """Padded batches cut at the deepest layer equal whole forward passes of single texts."""
    model = make_model(kind)
    statistics = fit(model, tokenizer, TEXTS, (1, 2), max_tokens=10_000, batch_tokens=64)
    expected = {1: torch.zeros(0), 2: torch.zeros(0)}
    modules = {
        "llama": lambda i: model.model.layers[i].mlp.down_proj,
        "gpt2": lambda i: model.transformer.h[i].mlp.c_proj,
        "gptj": lambda i: model.transformer.h[i].mlp.fc_out,
    }[kind]
    num_tokens = 0
    for layer in expected:
        keys: list[torch.Tensor] = []
        handle = modules(layer).register_forward_pre_hook(
            lambda _m, args, k=keys: k.append(args[0][0])
        )
        for text in TEXTS:
            with torch.no_grad():
                model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False))
        handle.remove()
        k_TI = torch.cat(keys)
        num_tokens = len(k_TI)
        expected[layer] = k_TI.T @ k_TI / num_tokens
    assert statistics.num_tokens == num_tokens
    for layer, C_II in expected.items():
        torch.testing.assert_close(statistics.moment(layer), C_II, rtol=1e-9, atol=1e-12)


def test_batch_size_and_shards_do_not_matter(llama: Any, tokenizer: Any) -> None:
    """One row a batch, all in one batch, two merged shards, and more parts than rows agree."""
    whole = fit(llama, tokenizer, TEXTS, (1, 2), max_tokens=10_000)
    single = fit(llama, tokenizer, TEXTS, (1, 2), max_tokens=10_000, batch_tokens=1)
    shards = [
        fit(llama, tokenizer, part, (1, 2), max_tokens=10_000) for part in (TEXTS[:4], TEXTS[4:])
    ]
    parts = [
        fit(llama, tokenizer, TEXTS, (1, 2), max_tokens=10_000, part=(i, 99)) for i in range(99)
    ]
    for other in (single, shards[0].merge(shards[1]), reduce(Statistics.merge, parts)):
        assert other.num_tokens == whole.num_tokens
        for layer in (1, 2):
            torch.testing.assert_close(
                other.moment(layer), whole.moment(layer), rtol=1e-9, atol=1e-12
            )


def test_stops_at_the_token_budget_and_cuts_windows(llama: Any, tokenizer: Any) -> None:
    """Exactly `max_tokens` tokens are used, none in a window longer than asked for."""
    assert fit(llama, tokenizer, TEXTS, (1,), max_tokens=37, window=5).num_tokens == 37


def test_file_keeps_every_bit(llama: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Save, load: the same sums, counts and metadata."""
    statistics = fit(llama, tokenizer, TEXTS, (1, 2), max_tokens=100)
    statistics.save(tmp_path / "s.safetensors")
    loaded = Statistics.load(tmp_path / "s.safetensors")
    assert loaded.num_tokens == 100 and loaded.metadata == statistics.metadata
    assert all(torch.equal(loaded.sums[layer], statistics.sums[layer]) for layer in (1, 2))


def test_refuses_what_does_not_fit(llama: Any, tokenizer: Any, tmp_path: Path) -> None:
    """No text, an unknown layer, other layers and another file are each refused."""
    with pytest.raises(EditError, match="at least one token"):
        fit(llama, tokenizer, [""], (1,), max_tokens=10)
    one, two = (fit(llama, tokenizer, TEXTS, (layer,), max_tokens=50) for layer in (1, 2))
    with pytest.raises(EditError, match="not layer 2"):
        one.moment(2)
    with pytest.raises(EditError, match="do not merge"):
        one.merge(two)
    (tmp_path / "bad").write_bytes(b"x")
    with pytest.raises(EditError, match="cannot be read"):
        Statistics.load(tmp_path / "bad")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_second_moments_are_exact_whatever_the_processor_has(dtype: torch.dtype) -> None:
    """Of bfloat16 keys the faster product loses nothing, and the setting is put back: float32
    products after it are as exact as before. An odd width has no middle."""
    generator = torch.Generator().manual_seed(0)
    k_TI = torch.randn(300, 129, generator=generator, dtype=torch.float64).to(dtype)
    exact = k_TI.double().T @ k_TI.double()
    made = gram(k_TI)
    assert made.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(made, made.T, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(made.double(), exact, rtol=2e-6, atol=1e-4)
    plain = torch.randn(256, 256, generator=generator)
    torch.testing.assert_close(
        (plain @ plain).double(), plain.double() @ plain.double(), rtol=1e-5, atol=1e-4
    )
