"""A lower bound on the time of the search for values on this machine, from its arithmetic.

A step runs the tokens from the lookup token on through the blocks above the edited layer, and
through the head where a token is predicted. It does so forward, and backward to the activations
only, since the weights are fixed. Products with weight matrices count, with two operations for each
weight and token. Attention, norms, the forward pass before the first step and the other phases of
an edit do not count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

ROUNDS = 30
"""Number of timings, of which the fastest counts."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The work of a search, and the rate at which the machine multiplies."""

    tokens: int
    """Tokens run, over all facts and steps."""
    heads: int
    """Positions at which a token is predicted, over all facts and steps."""
    flop: float
    """Floating-point operations of the search."""
    flop_per_s: float
    """Rate of large matrix products in the model's dtype, on all cores or the GPU."""

    @property
    def seconds(self) -> float:
        """The lower bound, in seconds."""
        return self.flop / self.flop_per_s


def floor_of(
    model: Any, layer: int, sizes: Sequence[tuple[int, int]], steps: Sequence[int], rate: float
) -> Floor:
    """The lower bound for a search whose values are optimised at `layer`.

    model  a model of transformers
    sizes  for each fact, the tokens and the predictions of one step (`Engine.sizes`)
    steps  for each fact, the number of steps
    rate   FLOP/s of the machine (`gemm_rate`)
    """
    tokens = sum(size[0] * count for size, count in zip(sizes, steps, strict=True))
    heads = sum(size[1] * count for size, count in zip(sizes, steps, strict=True))
    above = list(model.get_decoder().layers)[layer + 1 :]
    weights = sum(
        module.weight.numel()
        for block in above
        for module in block.modules()
        if isinstance(module, nn.Linear)
    )
    head = model.get_output_embeddings().weight.numel()
    flop = 2.0 * 2.0 * (tokens * weights + heads * head)
    return Floor(tokens=tokens, heads=heads, flop=flop, flop_per_s=rate)


def gemm_rate(model: Any, *, rows: int = 2048) -> float:
    """FLOP/s of the two matrix products of the model's MLP, in its dtype: [rows, d] by [d, f], and
    the result by [f, d]."""
    config, device, dtype = model.config, model.device, model.dtype
    d, f = config.hidden_size, config.intermediate_size
    x_RD = torch.randn(rows, d, device=device, dtype=dtype)
    up_DF = torch.randn(d, f, device=device, dtype=dtype)
    down_FD = torch.randn(f, d, device=device, dtype=dtype)
    best = min(_seconds(x_RD, up_DF, down_FD) for _ in range(ROUNDS))
    return 4.0 * rows * d * f / best


def _seconds(x_RD: Tensor, up_DF: Tensor, down_FD: Tensor, repeats: int = 5) -> float:
    """Seconds of the two products, mean over `repeats`."""
    if x_RD.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        torch.mm(torch.mm(x_RD, up_DF), down_FD)
    if x_RD.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats
