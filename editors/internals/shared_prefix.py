"""Rows that begin alike run once what they share: a context's text, a template before a subject.

What a stem's tokens leave behind is their keys and values, a cache of one row; the rows themselves
then see it in front of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from editors.internals.tokens import TokenRow

STEM_TOKENS = 6
"""Shorter stems are not worth a pass of their own."""
STEM_ROWS = 4
"""Nor are those of fewer rows."""


class Prefix(DynamicLayer):
    """Keys and values of one block's prefix; seen with new ones behind them, never extended."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys: Tensor = keys
        self.values: Tensor = values
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        return (
            torch.cat([self.keys, key_states], dim=-2),
            torch.cat([self.values, value_states], dim=-2),
        )


def stems(rows: Sequence[TokenRow]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Rows grouped by a common beginning (stem): tokens of the stem and indices of its rows.

    A stem ends before the lookup token. Rows whose beginning is too short or shared by too few rows
    come first, under the empty stem."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        alike[row.ids[:STEM_TOKENS] if row.lookup > STEM_TOKENS else ()].append(i)
    apart = {start for start, group in alike.items() if not start or len(group) < STEM_ROWS}
    alone = sorted(i for start in apart for i in alike[start])
    shared = [
        (_common([rows[i].prefix for i in group]), group)
        for start, group in alike.items()
        if start not in apart
    ]
    return [((), alone), *shared] if alone else shared


def expanded(cache: DynamicCache, num_rows: int) -> DynamicCache:
    """The cache of one row, for many; an empty one stays empty."""
    wide = DynamicCache()
    for i, (keys, values) in enumerate(map(seen, cache.layers)):
        shape = (num_rows, *keys.shape[1:])
        wide.update(keys.expand(shape), values.expand(shape), i)
    return wide


def seen(layer: Any) -> tuple[Tensor, Tensor]:
    """Keys and values in a layer of a cache, [B, heads, T, width]."""
    assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
    return layer.keys, layer.values


def _common(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The longest common beginning."""
    first, last = min(rows), max(rows)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[: min(len(first), len(last)) if same is None else same]
