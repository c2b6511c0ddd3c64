"""The sentence around some tokens, by what the text of each token does to a sentence.

W: tokens of a row. V: vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from editors.deltas.token_names import token_texts

MARK, LINE, LOWER = 1, 2, 4
"""Bits of a token: its text ends in a mark that ends sentences; it ends a line, or is a special
token; it begins with a small letter."""
MARKS = ".!?…。\uff01\uff1f।؟"
"""Marks that end sentences, in any script."""


def sentence_bounds(tokenizer: Any, size: int) -> Tensor:
    """For each of `size` token ids what its text does to a sentence: `MARK`, `LINE` and `LOWER`,
    uint8 [V]."""
    special = set(tokenizer.all_special_ids)
    bounds = [
        LINE if i in special else _bits(text) for i, text in enumerate(token_texts(tokenizer, size))
    ]
    return torch.tensor(bounds + [0] * (size - len(bounds)), dtype=torch.uint8)


def sentence(ids_W: Tensor, bounds_V: Tensor, start: int, end: int) -> tuple[int, int]:
    """The sentence that holds the tokens from `start` to `end`, as a half-open range of places.

    A mark ends a sentence unless a small letter follows (`Jr. was`), a line's end and a special
    token always do, and so does padding, whose ids are negative. The tokens from `start` to `end`
    are not looked into: a name may have a mark in it. Where `end` is no sentence's, the range goes
    on to the last token that is there.
    """
    bits = [int(bounds_V[i]) if i >= 0 else LINE for i in ids_W.tolist()]
    low = start
    while low and not _ends(bits, low - 1):
        low -= 1
    high = end
    while high < len(bits) and not (high > end and _ends(bits, high - 1)):
        if bits[high] & LINE:
            break
        high += 1
    return low, high


def _ends(bits: list[int], at: int) -> bool:
    """Whether a sentence ends behind a place."""
    if bits[at] & LINE:
        return True
    return bool(bits[at] & MARK) and not (at + 1 < len(bits) and bits[at + 1] & LOWER)


def _bits(text: str) -> int:
    bare = text.strip()
    return (
        MARK * (bare[-1:] != "" and bare[-1:] in MARKS)
        + LINE * ("\n" in text)
        + LOWER * bare[:1].islower()
    )
