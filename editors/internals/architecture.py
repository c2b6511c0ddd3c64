"""Where a decoder may be edited: its blocks and their MLP output projections.

Nothing is looked up by name. The block list is the `ModuleList` of the configured length; a block's
projection is the linear module that ends in the hidden size, mixes no tokens and is given the
widest input; its orientation comes from its type and is confirmed on a recorded call. A nudge of
the projection's output tells whether the block adds it to the residual stream (`gain`), or
normalises it first (Gemma, OLMo-2). A sharded model (`infra/distributed/zero.py`) is taken apart
like any other, by all ranks together.

d: hidden size. f: inner size of the MLP. T: tokens of the probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from editors.internals.forward import passed_on, substituted
from infra.distributed.zero import whole_shape
from infra.errors import ConfigError, ModelError


class _Answer(BaseModelOutputWithPastAndCrossAttentions):
    """What a decoder returns, with nothing in it but the last hidden states: whatever else a model
    reads of its own decoder's output (router logits, shared states) is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@dataclass(frozen=True, slots=True)
class Projection:
    """The linear module that a block's MLP ends with."""

    name: str
    """Name of its weight in `named_parameters`."""
    module: nn.Module
    transposed: bool
    """The weight is stored [f, d] (Conv1D), not [d, f] (Linear)."""
    gain: float | None
    """c, where adding r to the projection's output adds c r to the block's output. None where the
    two are not proportional: the block normalises the projection's output first, or gates it."""


@dataclass(frozen=True, slots=True)
class Block:
    """One decoder block."""

    index: int
    module: nn.Module
    returns_tuple: bool
    """Whether the block's forward returns a tuple with the hidden states first."""
    found: Projection | str
    """Its projection, or why it has none that can be edited: a sentence that names the block."""

    @property
    def editable(self) -> bool:
        """Whether it has a projection that can be edited."""
        return isinstance(self.found, Projection)

    @property
    def name(self) -> str:
        """Name of the projection's weight. Raises ModelError where there is none to edit."""
        return self._projection.name

    @property
    def projection(self) -> nn.Module:
        """The projection. Raises ModelError where there is none to edit."""
        return self._projection.module

    @property
    def transposed(self) -> bool:
        """`Projection.transposed`. Raises ModelError where there is none to edit."""
        return self._projection.transposed

    @property
    def gain(self) -> float | None:
        """`Projection.gain`. Raises ModelError where there is none to edit."""
        return self._projection.gain

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

    @property
    def _projection(self) -> Projection:
        if isinstance(self.found, str):
            raise ModelError(self.found)
        return self.found


@dataclass(frozen=True, slots=True)
class Architecture:
    """A causal language model taken apart far enough to edit it."""

    model: Any
    decoder: nn.Module
    blocks: tuple[Block, ...]
    takes_positions: bool
    keeps_states: bool = False
    """Whether a block keeps a state instead of keys and values, or uses those of another block. A
    row's beginning cannot then be put in front of it as keys and values, so rows run whole."""

    shares_keys: bool = False
    """Whether a block uses keys and values of another one, so that none may be left out of a
    pass."""

    def editable(self, layers: Sequence[int]) -> list[int]:
        """Those of `layers` whose block can be edited; where none can, the nearest to the last of
        them that can, the lower of two."""
        able = [block.index for block in self.blocks if block.editable]
        wanted = [layer for layer in layers if layer in able]
        return wanted or [min(able, key=lambda layer: (abs(layer - layers[-1]), layer))]

    def layer_at(self, layer: int | None, depth: float) -> int:
        """A layer that was given, or where none was that at a share of the depth, [0, 1]: one whose
        block can be edited, and not the last. Raises ConfigError for a layer that the model
        lacks."""
        num_layers = len(self.blocks)
        if layer is None:
            return self.editable([min(round(depth * num_layers), max(num_layers - 2, 0))])[0]
        if layer >= num_layers:
            raise ConfigError(
                f"layer={layer} but {type(self.model).__name__} has {num_layers} "
                f"(0-{num_layers - 1}). Choose a lower layer or leave `layer` unset."
            )
        return layer

    def longest(self, window: int) -> int:
        """The smaller of `window` and the model's number of positions, tokens."""
        config = self.model.config.get_text_config()
        return min(window, getattr(config, "max_position_embeddings", None) or window)

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
        answer = _Answer(last_hidden_state=hidden_MD[None])
        ids = torch.zeros(1, 1, dtype=torch.long, device=hidden_MD.device)
        with substituted({self.decoder: lambda *_args, **_kwargs: answer}):
            return self.model(input_ids=ids).logits[0]
