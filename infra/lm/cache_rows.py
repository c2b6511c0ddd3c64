"""Rows of a cache: selected, cut, and joined with those of another cache; and the token ids that it
was filled with, where they are kept beside it.

A layer holds keys and values of every token, [N, H, W, D], the keys of an index beside them, [N, W,
D], or states that have no axis of tokens, [N, ...]. Axis letters: N rows, H heads, W cached tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache as cached
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import Cache

BY_TOKEN = ("keys", "values", "indexer_keys")
"""Tensors of a layer with an axis of tokens, the last but one."""
STATES = ("conv_states", "recurrent_states")
"""Tensors without, by number, in dicts."""
FLAGS = ("is_conv_states_initialized", "is_recurrent_states_initialized", "has_previous_state")
"""What is known of each state, by number, in dicts that the layer writes to."""

NO_TOKEN = -1
"""Id kept for a place without a token: padding."""


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
    ids_NW = remembered(cache)
    if ids_NW is not None:
        cache.token_ids = ids_NW[rows][:, first:]


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
    own_NW, more_NW = remembered(cache), remembered(other)
    if own_NW is not None and more_NW is not None:
        both = [pad(x, (width - x.shape[1], 0), value=NO_TOKEN) for x in (own_NW, more_NW)]
        cache.token_ids = torch.cat(both)


def remember(cache: Any, ids_NW: Tensor) -> None:
    """Keep the token ids of all rows of a cache; from now on they are changed with its rows."""
    kind = type(cache)
    if not issubclass(kind, _Remembering):
        cache.__class__ = _remembering(kind)
    cache.token_ids = ids_NW


def remembered(cache: Any) -> Tensor | None:
    """The token ids of all rows, [N, W], `NO_TOKEN` at padding; None where none were kept."""
    return getattr(cache, "token_ids", None)


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


class _Remembering(Cache):
    """Methods of a cache that change its rows: here also those of its token ids. transformers calls
    them in a beam search, and where it takes back tokens."""

    token_ids: Tensor

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        self.token_ids = self.token_ids[beam_idx.to(self.token_ids.device)]
        super().reorder_cache(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        self.token_ids = self.token_ids[indices.to(self.token_ids.device)]
        super().batch_select_indices(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        self.token_ids = self.token_ids.repeat_interleave(repeats, dim=0)
        super().batch_repeat_interleave(repeats)

    def crop(self, tokens_to_remove: int) -> None:
        super().crop(tokens_to_remove)
        self.token_ids = self.token_ids[:, : self.get_seq_length()]

    def reset(self) -> None:
        self.token_ids = self.token_ids[:, :0]
        super().reset()


@cached
def _remembering(kind: type) -> type:
    """A kind of cache that changes its token ids with its rows."""
    return type(kind.__name__, (_Remembering, kind), {})
