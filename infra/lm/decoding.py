"""A batch of continuations: rows are added when their prompt has run, and removed when they end.

All rows end at the right edge of the cache and are padded on the left, whatever their lengths. Axis
letters: N rows, W cached tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from infra.lm.cache_rows import join_caches, keep_cache_rows


class DecodeBatch:
    """The rows that are being continued, each with its owner, next token and cache."""

    def __init__(self) -> None:
        """A batch without rows."""
        self.owners: list[Any] = []
        """For each row, the prompt group that it continues."""
        self.next_N = torch.empty(0)
        """The next token of each row, which has not run yet."""
        self.mask_NW = torch.empty(0, 0)
        """1 where the cache holds a token of the row, 0 where it holds padding."""
        self.cache: Any = None
        """Keys and values of all rows: a transformers cache."""

    @property
    def width(self) -> int:
        """Number of cached tokens of a row, padding included."""
        return self.mask_NW.shape[1]

    def add_rows(self, owners: Sequence[Any], next_N: Tensor, mask_NW: Tensor, cache: Any) -> None:
        """Add rows whose prompts ran together, with the cache of that run, which is taken over."""
        if self.owners:
            width = max(self.width, mask_NW.shape[1])
            join_caches(self.cache, cache, width)
            next_N = torch.cat([self.next_N, next_N])
            masks = self.mask_NW, mask_NW
            mask_NW = torch.cat([pad(mask, (width - mask.shape[1], 0)) for mask in masks])
            cache = self.cache
        self.owners = [*self.owners, *owners]
        self.next_N, self.mask_NW, self.cache = next_N, mask_NW, cache

    def keep_rows(self, indices: Sequence[int]) -> None:
        """Remove all rows but these, and columns of the cache that are padding in all that stay."""
        if len(indices) == len(self.owners):
            return
        self.owners = [self.owners[n] for n in indices]
        if not indices:
            return
        kept = torch.tensor(indices, device=self.next_N.device)
        self.next_N, self.mask_NW = self.next_N[kept], self.mask_NW[kept]
        unused = int(self.mask_NW.any(0).int().argmax())
        self.mask_NW = self.mask_NW[:, unused:]
        keep_cache_rows(self.cache, kept, unused)
