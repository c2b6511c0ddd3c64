"""Short texts put before a prompt so that an edit holds in running text and not only at its start.

MEMIT (arXiv:2210.07229) samples them; here they are the model's own greedy continuations of a few
starters, so that the same model always gives the same contexts.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from infra.lm.text_tokens import added_in_front, own_tokens
from infra.models.cache import empty_cache

STARTERS = ("The", "Therefore", "Because", "I", "You", "In", "When", "However", "Many", "It")


class ContextCache:
    """The contexts of the model that was seen last, made once."""

    def __init__(self, num_prefixed: int, num_tokens: int) -> None:
        """
        num_prefixed  contexts besides the empty one
        num_tokens    tokens that the model adds to a context's starter
        """
        self._num_prefixed, self._num_tokens = num_prefixed, num_tokens
        self._last: tuple[Any, tuple[str, ...]] | None = None

    def of(self, model: Any, tokenizer: Any) -> tuple[str, ...]:
        """The contexts of this model, the empty one first."""
        if self._last is None or self._last[0] is not model:
            number, tokens = self._num_prefixed, self._num_tokens
            texts = contexts(model, tokenizer, num_prefixed=number, num_tokens=tokens)
            self._last = model, texts
        return self._last[1]


@torch.no_grad()
def contexts(model: Any, tokenizer: Any, *, num_prefixed: int, num_tokens: int) -> tuple[str, ...]:
    """The empty context, then `num_prefixed` continuations of `num_tokens` tokens.

    Each ends with a full stop and a space. Starters of equal length run in one batch. A context
    does not depend, beyond rounding, on how many others are asked for.
    """
    starters = STARTERS[:num_prefixed]
    device = model.get_input_embeddings().weight.device
    front = added_in_front(tokenizer)
    by_length: dict[int, list[tuple[str, list[int]]]] = defaultdict(list)
    for starter in starters:
        ids = [*front, *own_tokens(tokenizer, starter)]
        by_length[len(ids)].append((starter, ids))
    texts: dict[str, str] = {}
    for group in by_length.values():
        ids_BT = torch.tensor([ids for _, ids in group], device=device)
        for (starter, _), said in zip(group, _continued(model, ids_BT, num_tokens), strict=True):
            text = " ".join(tokenizer.decode(said, skip_special_tokens=True).split())
            texts[starter] = text.rstrip(" .") + ". "
    return ("", *(texts[starter] for starter in starters))


def _continued(model: Any, ids_BT: Tensor, num_tokens: int) -> Tensor:
    """Greedy continuations of rows of equal length, [B, T + num_tokens]."""
    cache, next_BT = empty_cache(model), ids_BT
    for _ in range(num_tokens):
        logits_BTV = model(input_ids=next_BT, past_key_values=cache, use_cache=True).logits
        next_BT = logits_BTV[:, -1:].argmax(dim=-1)
        ids_BT = torch.cat([ids_BT, next_BT], dim=1)
    return ids_BT
