"""The least time that the search for values can take on this machine, by its arithmetic.

A step has to run the tokens from the lookup token on through the blocks above the edited layer, and
the head where a token is predicted: forwards and, the weights being fixed, backwards to the
activations. Multiplications by weights count, two operations each; attention, norms, the run that
comes before the first step and everything of the other phases do not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

ROUNDS = 30
"""Timings of each product; the best counts."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Work of a search, and the rate at which the machine multiplies."""

    tokens: int
    """Run again: of every fact those of one step times its steps."""
    heads: int
    """Positions at which a token is predicted, likewise."""
    flop: float
    flop_per_s: float
    """Of large products in the model's dtype with all cores, or the GPU."""

    @property
    def seconds(self) -> float:
        """The floor."""
        return self.flop / self.flop_per_s


def floor_of(
    model: Any, layer: int, sizes: Sequence[tuple[int, int]], steps: Sequence[int], rate: float
) -> Floor:
    """The floor of optimising at `layer`; sizes are tokens and predictions of each fact."""
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
    """FLOP/s of products as the model's MLP makes them, in its dtype, [rows, d] [d, f] and back."""
    config, device, dtype = model.config, model.device, model.dtype
    d, f = config.hidden_size, config.intermediate_size
    x_RD = torch.randn(rows, d, device=device, dtype=dtype)
    up_DF = torch.randn(d, f, device=device, dtype=dtype)
    down_FD = torch.randn(f, d, device=device, dtype=dtype)
    best = min(_seconds(x_RD, up_DF, down_FD) for _ in range(ROUNDS))
    return 4.0 * rows * d * f / best


def _seconds(x_RD: Tensor, up_DF: Tensor, down_FD: Tensor, repeats: int = 5) -> float:
    """Of one product and the one back."""
    if x_RD.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        torch.mm(torch.mm(x_RD, up_DF), down_FD)
    if x_RD.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats
