"""Short texts put before a prompt so that an edit holds in running text and not only at its start.

MEMIT (arXiv:2210.07229) samples them; here they are the model's own greedy continuations of a few
starters, so that the same model always gives the same contexts.
"""

from __future__ import annotations

from typing import Any

import torch

STARTERS = ("The", "Therefore", "Because", "I", "You", "In", "When", "However", "Many", "It")


@torch.no_grad()
def contexts(model: Any, tokenizer: Any, *, num_prefixed: int, num_tokens: int) -> tuple[str, ...]:
    """The empty context, then `num_prefixed` continuations of `num_tokens` tokens.

    Each ends with a full stop and a space. A starter runs alone, so that a context does not depend
    on how many are asked for.
    """
    device = model.get_input_embeddings().weight.device
    texts = [""]
    for starter in STARTERS[:num_prefixed]:
        ids = tokenizer(starter, return_tensors="pt")["input_ids"].to(device)
        for _ in range(num_tokens):
            following = model(input_ids=ids, use_cache=False).logits[:, -1].argmax(dim=-1)
            ids = torch.cat([ids, following[:, None]], dim=1)
        text = " ".join(tokenizer.decode(ids[0], skip_special_tokens=True).split())
        texts.append(text.rstrip(" .") + ". ")
    return tuple(texts)
