"""Logits at the positions that are asked for, and the likelihoods of tokens from them.

Axis letters: N rows, T tokens, D width of the hidden states, K selected positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


class PositionSelector:
    """A forward pre-hook of a model's head, which passes on the selected positions only.

    The hidden states that it passes on are contiguous: of a slice, torch's linear layer would make
    one product for each row.
    """

    def __init__(self) -> None:
        """All positions are selected."""
        self.at: Tensor | None = None
        """Selected positions, a boolean [N, T]; None selects all."""

    def __call__(self, _: Any, args: tuple[Tensor, ...]) -> Tensor:
        """The hidden states of the selected positions, [1, K, D]; of all, [N, T, D]."""
        hidden_NTD = args[0]
        return hidden_NTD.contiguous() if self.at is None else hidden_NTD[self.at][None]


def token_logprobs(logits_KV: Tensor, ids_K: Tensor) -> tuple[Tensor, Tensor]:
    """log p of each token `ids_K`, and whether it has the greatest logit, [K] each.

    The logits, float32, are overwritten. On a CPU this takes half the time of a log-softmax.
    """
    top = logits_KV.max(-1)
    gold_K = logits_KV.gather(1, ids_K[:, None])[:, 0]
    norm_K = logits_KV.sub_(top.values[:, None]).exp_().sum(-1).log_().add_(top.values)
    return gold_K - norm_K, top.indices == ids_K


def argmax_last(logits: Tensor) -> Tensor:
    """Index of the greatest value along the last axis, the first of equal ones.

    `max` is used because torch's `argmax` is slow on CPUs.
    """
    return logits.max(-1).indices
