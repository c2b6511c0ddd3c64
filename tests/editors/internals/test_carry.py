"""Rows carried together, behind the stems that they share, are what each is by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from editors_helpers import some_requests
from tiny_models import KINDS, NORMALISED, make_model

from editors.internals.carry import Carry
from editors.internals.discover import discover
from editors.internals.forward import changed, frozen
from editors.internals.shared_prefix import stems
from editors.internals.tokens import TokenRow, in_context
from editors.values.columns import even_parts

CONTEXTS = ("", "Long ago the Navy was in London and so was he. ", "Paris is a city in France and ")


def some_rows(tokenizer: Any) -> list[TokenRow]:
    """Of every request a bare one and one in each of two contexts."""
    return [in_context(tokenizer, r, text) for r in some_requests() for text in CONTEXTS]


def test_stems_are_what_rows_share_before_their_lookup(tokenizer: Any) -> None:
    """Every row is there once, begins with its stem, and has its lookup token behind it."""
    rows = some_rows(tokenizer)
    found = stems(rows)
    assert sorted(i for _, group in found for i in group) == list(range(len(rows)))
    assert [len(group) for _, group in found] == [5, 5, 5]
    for stem, group in found:
        assert all(rows[i].prefix[: len(stem)] == stem for i in group)
    assert [bool(stem) for stem, _ in found] == [False, True, True]
    assert all(len(stem) >= 6 for stem, _ in found[1:])


@pytest.mark.parametrize("kind", [*KINDS, "lfm2", "qwen3_5_text"])
def test_together_is_each_by_itself(kind: str, tokenizer: Any) -> None:
    """Keys and states of three blocks, the lowest changed; every architecture."""
    model = make_model(kind, torch.float64)
    architecture = discover(model)
    rows = some_rows(tokenizer)
    layers = [0] if kind in NORMALISED else [0, 1, 2]
    block = architecture.blocks[0]
    width_I, width_O = block.shape if block.transposed else block.shape[::-1]
    change_IO = torch.randn(width_I, width_O, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad(), frozen(model), changed(block.projection, 0.1 * change_IO):
        together = Carry(architecture, rows, layers[0], layers[-1])
        alone = [Carry(architecture, [row], layers[0], layers[-1]) for row in rows]
        for layer in layers:
            for carry in (together, *alone):
                carry.advance(layer)
            keys_IB, site_BD = together.look()
            one_by_one = [carry.look() for carry in alone]
            close(keys_IB, together.keys())
            close(keys_IB, torch.cat([k for k, _ in one_by_one], dim=1))
            close(site_BD, torch.cat([s for _, s in one_by_one]))


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal up to norms and rotary tables, which some models compute in float32."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_even_parts() -> None:
    """As few as can be, alike in size, and the same when whole ones are taken out."""
    assert [len(part) for part in even_parts(range(100), 32)] == [25, 25, 25, 25]
    assert even_parts([], 4) == []
    for number in range(1, 60):
        for most in range(1, 9):
            parts = even_parts(range(number), most)
            assert [i for part in parts for i in part] == list(range(number))
            assert len(parts) == -(-number // most) and max(map(len, parts)) <= most
            for gone in range(len(parts)):
                left = [part for i, part in enumerate(parts) if i != gone]
                assert even_parts([i for part in left for i in part], most) == [
                    list(part) for part in left
                ]
