"""What a pass over many short rows is made of: rows that are little padded, a head that sees only
what is asked, and the likelihood of tokens from logits.

Axis letters: N rows, T tokens, D width of the hidden states, K places that are asked for, V
vocabulary.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Head:
    """What a head is given, before it is: the places that are asked for, in one piece of memory."""

    def __init__(self) -> None:
        self.at: Tensor | None = None
        """[N, T]; None is all that comes."""

    def __call__(self, _: Any, args: tuple[Tensor, ...]) -> Tensor:
        hidden_NTD = args[0]
        return hidden_NTD.contiguous() if self.at is None else hidden_NTD[self.at][None]


def hits(logits_KV: Tensor, ids_K: Tensor) -> tuple[Tensor, Tensor]:
    """log p of each token, and whether it is the likeliest, [K] each; the logits, float32, are used
    up.

    On a CPU one pass for the greatest and one for the sum are half of a log-softmax.
    """
    top = logits_KV.max(-1)
    gold_K = logits_KV.gather(1, ids_K[:, None])[:, 0]
    norm_K = logits_KV.sub_(top.values[:, None]).exp_().sum(-1).log_().add_(top.values)
    return gold_K - norm_K, top.indices == ids_K


def likeliest(logits: Tensor) -> Tensor:
    """Index of the greatest along the last axis, the first of equals; argmax is slow on CPUs."""
    return logits.max(-1).indices
