"""Where a decoder may be edited: its blocks and their MLP output projections.

Nothing is looked up by name. The block list is the `ModuleList` of the configured length; a block's
projection is the last linear module that runs in it and ends in the hidden size; its orientation
comes from its type and is confirmed on a recorded call. A nudge of the projection's output tells
whether the block adds it to the residual stream (`gain`), or normalises it first (Gemma, OLMo-2).
A sharded model (`infra/distributed/zero.py`) is taken apart like any other, by all ranks together.

d: hidden size. f: inner size of the MLP. T: tokens of the probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from editors.internals.forward import passed_on, substituted
from infra.distributed.zero import whole_shape


@dataclass(frozen=True, slots=True)
class Block:
    """One decoder block and the linear module that its MLP ends with."""

    index: int
    module: nn.Module
    name: str
    """Name of the projection's weight in `named_parameters`."""
    projection: nn.Module
    transposed: bool
    """The weight is stored [f, d] (Conv1D), not [d, f] (Linear)."""
    gain: float | None
    """c, where adding r to the projection's output adds c r to the block's output. None where the
    block normalises the projection's output first, so that the two are not proportional."""
    returns_tuple: bool
    """Whether the block's forward returns a tuple with the hidden states first."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Stored shape of the whole weight."""
        return whole_shape(self.weight)

    @property
    def weight(self) -> nn.Parameter:
        """The parameter itself. On a sharded model it has its values inside `gathered` only."""
        weight = self.projection.weight
        assert isinstance(weight, nn.Parameter)
        return weight


@dataclass(frozen=True, slots=True)
class Architecture:
    """A causal language model taken apart far enough to edit it."""

    model: Any
    decoder: nn.Module
    blocks: tuple[Block, ...]
    takes_positions: bool

    def longest(self, window: int) -> int:
        """The smaller of `window` and the model's number of positions, tokens."""
        return min(window, getattr(self.model.config, "max_position_embeddings", window))

    def hidden(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        *,
        cache: Cache | None = None,
        stop_after: int | None = None,
    ) -> Tensor:
        """Run the decoder; its last hidden states, [B, t, d].

        ids_BT [B, t] are the tokens to run; mask_BT [B, past + t] covers those in `cache` as well,
        0 for padding. With `stop_after`, blocks above this index return their input unchanged: the
        result is then meaningless, and the states wanted are read by `forward.recorded`.
        """
        positions_BT = (mask_BT.cumsum(dim=1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
        positions = {"position_ids": positions_BT} if self.takes_positions else {}
        above = self.blocks if stop_after is None else self.blocks[stop_after + 1 :]
        skipped = (
            {}
            if stop_after is None
            else {block.module: passed_on(as_tuple=block.returns_tuple) for block in above}
        )
        with substituted(skipped):
            return self.decoder(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                past_key_values=cache,
                use_cache=cache is not None,
                **positions,
            ).last_hidden_state

    def logits(self, hidden_MD: Tensor) -> Tensor:
        """The model's own head, scale and soft cap included, on hidden states [M, d]: [M, V]."""
        answer = BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden_MD[None])
        ids = torch.zeros(1, 1, dtype=torch.long, device=hidden_MD.device)
        with substituted({self.decoder: lambda *_args, **_kwargs: answer}):
            return self.model(input_ids=ids).logits[0]
