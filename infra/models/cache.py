"""The cache that a model is run with: keys and values of every block, or what it keeps in place of
them.

Blocks with linear attention, convolutions or a scan keep a state that each token changes; what came
before cannot be cut from it or put in front of it. Others keep an index beside their keys.
"""

from __future__ import annotations

from typing import Any

from transformers import Cache, DynamicCache
from transformers.cache_utils import (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionCacheLayerMixin,
)

_UNCUT: dict[type, type] = {
    DynamicSlidingWindowLayer: DynamicLayer,
    LinearAttentionAndSlidingWindowAttentionLayer: LinearAttentionAndFullAttentionLayer,
}
"""Layers that drop tokens outside a window -> the same without dropping. Masks cut the window all
the same, and rows of different lengths can then share a cache."""


def empty_cache(model: Any) -> Cache:
    """A cache for rows of any length that keeps every token, made for the model's kinds of block.

    Models all of whose blocks keep keys and values get one that needs no config.
    """
    layers = DynamicCache(config=model.config).layers
    if all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        return DynamicCache()
    cache = DynamicCache()
    cache.layers = [_UNCUT[type(layer)]() if type(layer) in _UNCUT else layer for layer in layers]
    return cache


def keeps_nothing(layer: Any) -> bool:
    """Whether a layer of a cache that was filled has neither keys nor a state: its block uses those
    of another, or has no attention."""
    has_state = isinstance(layer, LinearAttentionCacheLayerMixin)
    return not has_state and getattr(layer, "keys", None) is None


def keeps_states(cache: Cache) -> bool:
    """Whether a layer keeps a state, from which only single tokens may go on: some models start
    from nothing again where several follow at a time."""
    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)
