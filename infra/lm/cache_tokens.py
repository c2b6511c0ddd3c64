"""The token ids that a cache was filled with, kept beside its keys and values.

Their rows are changed with those of the cache: by `infra.lm.cache_rows`, by the beam search of
transformers, and where a cache is cut. N: rows. W: cached tokens.
"""

from __future__ import annotations

from functools import cache as cached
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

NO_TOKEN = -1
"""Stands for a place without a token: padding."""


def remember(cache: Any, ids_NW: Tensor) -> None:
    """Keep the token ids of all rows of a cache; from now on they are changed with its rows."""
    kind = type(cache)
    if not issubclass(kind, _Remembering):
        cache.__class__ = _remembering(kind)
    cache.token_ids = ids_NW


def remembered(cache: Any) -> Tensor | None:
    """The token ids of all rows, [N, W], `NO_TOKEN` at padding; None where none were kept."""
    return getattr(cache, "token_ids", None)


def keep_rows(cache: Any, rows: Tensor, first: int = 0) -> None:
    """Keep the ids of these rows, from token `first` on."""
    ids_NW = remembered(cache)
    if ids_NW is not None:
        cache.token_ids = ids_NW[rows][:, first:]


def join(cache: Any, other: Any, width: int) -> None:
    """Put the ids of the rows of `other` behind those of `cache`, padded on the left to `width`."""
    own_NW, more_NW = remembered(cache), remembered(other)
    if own_NW is not None and more_NW is not None:
        both = [pad(x, (width - x.shape[1], 0), value=NO_TOKEN) for x in (own_NW, more_NW)]
        cache.token_ids = torch.cat(both)


class _Remembering:
    """Methods of a cache that change its rows, and those of its token ids with them."""

    token_ids: Tensor

    def reorder_cache(self, beam_idx: Tensor) -> Any:
        self.token_ids = self.token_ids[beam_idx.to(self.token_ids.device)]
        return super().reorder_cache(beam_idx)  # type: ignore[misc]

    def batch_select_indices(self, indices: Tensor) -> Any:
        self.token_ids = self.token_ids[indices.to(self.token_ids.device)]
        return super().batch_select_indices(indices)  # type: ignore[misc]

    def batch_repeat_interleave(self, repeats: int) -> Any:
        self.token_ids = self.token_ids.repeat_interleave(repeats, dim=0)
        return super().batch_repeat_interleave(repeats)  # type: ignore[misc]

    def crop(self, max_length: int) -> Any:
        """transformers cuts to a length, or with a negative number drops so many tokens."""
        self.token_ids = self.token_ids[:, :max_length]
        return super().crop(max_length)  # type: ignore[misc]

    def reset(self) -> Any:
        self.token_ids = self.token_ids[:, :0]
        return super().reset()  # type: ignore[misc]


@cached
def _remembering(kind: type) -> type:
    """A kind of cache that changes its token ids with its rows."""
    return type(kind.__name__, (_Remembering, kind), {})
