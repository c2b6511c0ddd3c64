"""Rows of a cache: selected, cut, and joined with those of another cache.

A layer holds keys and values of every token, [N, H, W, D], the keys of an index beside them, [N, W,
D], or states that have no axis of tokens, [N, ...]. Axis letters: N rows, H heads, W cached tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from infra.lm import cache_tokens

BY_TOKEN = ("keys", "values", "indexer_keys")
"""Tensors of a layer with an axis of tokens, the last but one."""
STATES = ("conv_states", "recurrent_states")
"""Tensors without, by number, in dicts."""
FLAGS = ("is_conv_states_initialized", "is_recurrent_states_initialized", "has_previous_state")
"""What is known of each state, by number, in dicts that the layer writes to."""


def copy_cache_rows(cache: Any, rows: Tensor) -> Any:
    """A cache with the given rows of `cache`, which itself stays as it is."""
    selected = copy.copy(cache)
    selected.layers = [copy.copy(layer) for layer in cache.layers]
    keep_cache_rows(selected, rows)
    return selected


def keep_cache_rows(cache: Any, rows: Tensor, first: int = 0) -> None:
    """Keep these rows of a cache, and of each its tokens from `first` on, in place."""
    for layer in cache.layers:
        _change(layer, lambda _, tensor: tensor[rows][..., first:, :], lambda _, s: s[rows])
    cache_tokens.keep_rows(cache, rows, first)


def join_caches(cache: Any, other: Any, width: int) -> None:
    """Put the rows of `other` behind those of `cache`, in place, all padded with zeros on the left
    to `width` tokens."""

    def wide(tensor: Tensor) -> Tensor:
        return pad(tensor, (0, 0, width - tensor.shape[-2], 0))

    for layer, more in zip(cache.layers, other.layers, strict=True):
        _change(
            layer,
            lambda name, tensor, m=more: torch.cat([wide(tensor), wide(getattr(m, name))]),
            lambda place, state, m=more: torch.cat([state, getattr(m, place[0])[place[1]]]),
        )
    cache_tokens.join(cache, other, width)


def _change(
    layer: Any,
    by_token: Callable[[str, Tensor], Tensor],
    state: Callable[[tuple[str, int], Tensor], Tensor],
) -> None:
    """Replace the tensors of a layer; those of another layer that shares them stay."""
    for name in BY_TOKEN:
        tensor = getattr(layer, name, None)
        if isinstance(tensor, Tensor) and tensor.ndim > 2:
            setattr(layer, name, by_token(name, tensor))
    for name in STATES:
        states = getattr(layer, name, None) or {}
        if states:
            changed = {i: s if s is None else state((name, i), s) for i, s in states.items()}
            setattr(layer, name, changed)
    for name in FLAGS:
        if flags := getattr(layer, name, None):
            setattr(layer, name, dict(flags))
