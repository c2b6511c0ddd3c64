"""Prompts being continued in one batch: rows join when they have been read, and leave when they are
over.

All rows end at the right edge of the cache and are padded on the left, whatever their age. Axis
letters: N rows, W cached tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


class DecodeBatch:
    """Whose each row is, which token it says next, and what is cached of it."""

    def __init__(self) -> None:
        self.owners: list[Any] = []
        self.next_N = torch.empty(0)
        """The likeliest token, not run yet."""
        self.mask_NW = torch.empty(0, 0)
        """What of the cache is the row's own."""
        self.cache: Any = None

    @property
    def width(self) -> int:
        return self.mask_NW.shape[1]

    def join(self, owners: Sequence[Any], next_N: Tensor, mask_NW: Tensor, cache: Any) -> None:
        """Take in rows that were read together. The cache is ours from now on."""
        if self.owners:
            width = max(self.width, mask_NW.shape[1])
            for layer, other in zip(_layers(self.cache), _layers(cache), strict=True):
                layer.keys = torch.cat([_wide(layer.keys, width), _wide(other.keys, width)])
                layer.values = torch.cat([_wide(layer.values, width), _wide(other.values, width)])
            next_N = torch.cat([self.next_N, next_N])
            masks = self.mask_NW, mask_NW
            mask_NW = torch.cat([pad(mask, (width - mask.shape[1], 0)) for mask in masks])
            cache = self.cache
        self.owners = [*self.owners, *owners]
        self.next_N, self.mask_NW, self.cache = next_N, mask_NW, cache

    def keep(self, places: Sequence[int]) -> None:
        """Let all rows go but these; and columns that no row needs any more."""
        if len(places) == len(self.owners):
            return
        self.owners = [self.owners[n] for n in places]
        if not places:
            return
        kept = torch.tensor(places, device=self.next_N.device)
        self.next_N, self.mask_NW = self.next_N[kept], self.mask_NW[kept]
        self.cache.batch_select_indices(kept)
        unused = int(self.mask_NW.any(0).int().argmax())
        self.mask_NW = self.mask_NW[:, unused:]
        for layer in _layers(self.cache):
            layer.keys, layer.values = layer.keys[:, :, unused:], layer.values[:, :, unused:]


def branched(cache: Any, rows: Tensor) -> Any:
    """A cache of some rows of another, which stays as it is."""
    branch = copy.copy(cache)
    branch.layers = [copy.copy(layer) for layer in cache.layers]
    branch.batch_select_indices(rows)
    return branch


def _layers(cache: Any) -> list[Any]:
    """Those that hold something; some models' layers share what others hold."""
    return [layer for layer in cache.layers if layer.get_seq_length()]


def _wide(tensor_NHWD: Tensor, width: int) -> Tensor:
    return pad(tensor_NHWD, (0, 0, width - tensor_NHWD.shape[-2], 0))
