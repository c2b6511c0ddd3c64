"""Requests, a config and a way from requests to a codebook, for the tests of GRACE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import editors_helpers
import torch
from editors_helpers import some_requests
from tiny_models import TEXTS, make_model
from torch import Tensor

from editors.base import Base
from editors.editor import Corpus, EditorCall, Proposal
from editors.external_memory.extension_based.grace import Grace, GraceConfig
from editors.request import EditRequest

LAYER = 1
CONFIG = GraceConfig(layer=LAYER, end="none", num_prompts=12)
WORDS = ("Paris", "the", "London", "is", "Paris")
"""Targets of one token: a random model cannot say two in a row, whatever it is told before."""
OTHERS = ["Grace Hopper is", "The weather in London", "Neymar plays", "Tom Brady said that", "A"]


def one_token_requests() -> list[EditRequest]:
    return [replace(item, target=word) for item, word in zip(some_requests(), WORDS, strict=True)]


def make_steerable(kind: str, dtype: torch.dtype = torch.float64) -> Any:
    """A tiny model whose MLPs can outvote the rest of the stream where they are normalised."""
    model = make_model(kind, dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "post_feedforward_layernorm" in name:
                parameter.fill_(8)
    return model


def propose(
    base: Base, requests: Sequence[EditRequest], config: GraceConfig = CONFIG, **more: Any
) -> Proposal:
    editor = Grace(config)
    fitted = more.get("fitted") or editor.fit(EditorCall(base), Corpus(TEXTS))
    return editors_helpers.propose(editor, EditorCall(base, fitted), requests)


def ids_of(tokenizer: Any, prompts: Sequence[str], *, left: bool) -> tuple[Tensor, Tensor]:
    tokenizer.padding_side = "left" if left else "right"
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True)
    return batch["input_ids"], batch["attention_mask"]


@torch.no_grad()
def last_logits(base: Base, prompts: Sequence[str], *, left: bool) -> Tensor:
    """Logits at the last token of each prompt of one batch, [B, V]."""
    ids, mask = ids_of(base.tokenizer, prompts, left=left)
    hidden = base.architecture.hidden(ids, mask)
    lasts = (mask * torch.arange(mask.shape[1])).argmax(dim=1)
    return base.architecture.logits(hidden[torch.arange(len(ids)), lasts])
