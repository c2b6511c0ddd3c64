"""The states below a trained MLP projection, which no step changes: computed once and kept.

All below the trained projection is frozen, so what it is given is the same in every epoch. Where a
block adds its projection's output to the residual stream (`Block.gain`, c), the block's own part is
frozen too and a change D of the weight moves the block's output by exactly c x D:

    h(D) = h(0) + c x D

with x and h(0) kept, neither attention nor MLP of that block runs again. A block that normalises
its MLP's output first runs anew from its kept input. The blocks above run each time, on a model
whose masks, positions, norms and head are its own; the head runs where a target is predicted. Where
a block uses keys and values of another one, all blocks run each time.

B: rows of a batch. T: tokens. I, O: width of the projection's input and output. M: predicted
tokens. V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from editors.editor import Progress, silent
from editors.internals.architecture import Architecture, Block
from editors.internals.forward import (
    answering,
    changed,
    passed_on,
    recorded,
    substituted,
    tensor_of,
)
from editors.internals.suffix import BUCKET_TOKENS
from editors.internals.tokens import TokenRow, bucketed, pad, waste_tokens


@dataclass(frozen=True, slots=True)
class Trunk:
    """Rows as the trained block sees them, in the host's memory. Use it under `frozen`."""

    architecture: Architecture
    layer: int
    rows: tuple[TokenRow, ...]
    inputs: list[Tensor]
    """What the projection is given, [T, I] of each row; empty where the block runs anew."""
    states: list[Tensor]
    """Output of the unchanged block, or its input where it runs anew: [T, O] of each row."""
    width_I: int
    width_O: int

    @property
    def block(self) -> Block:
        """The block whose projection is trained."""
        return self.architecture.blocks[self.layer]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.architecture.model.get_input_embeddings().weight.device

    def buckets(self, members: Sequence[int]) -> list[list[int]]:
        """These rows in groups of like length, to run together."""
        groups = _groups([self.rows[i] for i in members], self.device)
        return [[members[place] for place in group] for group in groups]

    def nll(self, members: Sequence[int], change_IO: Tensor) -> Tensor:
        """Mean NLL of each row's target [B] with D = `change_IO` in force, differentiable in D."""
        nll_M, row_M = self.token_nll(members, change_IO)
        share_B = torch.tensor([1 / self.rows[i].num_target for i in members]).to(nll_M)
        return torch.zeros_like(share_B).index_add(0, row_M, nll_M * share_B[row_M])

    def token_nll(self, members: Sequence[int], change_IO: Tensor) -> tuple[Tensor, Tensor]:
        """NLL of every token of the targets, row after row, and its row's place in `members`; [M],
        in the change's precision."""
        rows = [self.rows[i] for i in members]
        first = [len(row.ids) - row.num_target for row in rows]
        places = [
            (place, token - 1, row.ids[token])
            for place, row in enumerate(rows)
            for token in range(first[place], len(row.ids))
        ]
        row_M, slot_M, token_M = torch.tensor(places, device=self.device).T
        hidden_MD = self._hidden(members, change_IO)[row_M, slot_M]
        logits_MV = self.architecture.logits(hidden_MD).to(change_IO.dtype)
        return F.cross_entropy(logits_MV, token_M, reduction="none"), row_M

    def _hidden(self, members: Sequence[int], change_IO: Tensor) -> Tensor:
        """Last hidden states [B, T, O] of these rows. Padding goes behind, where causal attention
        never looks."""
        ids_BT, _ = pad([self.rows[i].ids[:-1] for i in members], device=self.device)
        if self.architecture.shares_keys:
            with changed(self.block.projection, change_IO):
                return self.architecture.hidden(ids_BT, torch.ones_like(ids_BT))
        state_BTO = self._stacked(self.states, members)
        if not self.inputs:
            below = _from_block(self.architecture, self.layer, state_BTO)
            with below, changed(self.block.projection, change_IO):
                return self.architecture.hidden(ids_BT, torch.ones_like(ids_BT))
        assert self.block.gain is not None
        moved_BTO = self._stacked(self.inputs, members).to(change_IO.dtype) @ change_IO
        output_BTO = state_BTO.to(change_IO.dtype) + self.block.gain * moved_BTO
        with _from_block(self.architecture, self.layer + 1, output_BTO.to(state_BTO.dtype)):
            return self.architecture.hidden(ids_BT, torch.ones_like(ids_BT))

    def _stacked(self, parts: list[Tensor], members: Sequence[int]) -> Tensor:
        return pad_sequence([parts[i] for i in members], batch_first=True).to(self.device)


def run_trunk(
    architecture: Architecture, rows: Sequence[TokenRow], layer: int, progress: Progress = silent
) -> Trunk:
    """Run all rows, less the last token of each, up to block `layer`. Use it under `frozen`."""
    block = architecture.blocks[layer]
    device = architecture.model.get_input_embeddings().weight.device
    inputs: dict[int, Tensor] = {}
    states: dict[int, Tensor] = {}
    width_I = width_O = 0
    for group in _groups(rows, device):
        ids_BT, _ = pad([rows[i].ids[:-1] for i in group], device=device)
        with torch.no_grad(), recorded({"block": block.module, "site": block.projection}) as calls:
            architecture.hidden(ids_BT, torch.ones_like(ids_BT), stop_after=layer)
        x_BTI = calls["site"].args[0]
        output_BTO = tensor_of(calls["block"].output)
        width_I, width_O = x_BTI.shape[-1], calls["site"].output.shape[-1]
        state_BTO = calls["block"].hidden if block.gain is None else output_BTO
        for place, i in enumerate(group):
            length = len(rows[i].ids) - 1
            states[i] = state_BTO[place, :length].clone().cpu()
            if block.gain is not None:
                inputs[i] = x_BTI[place, :length].clone().cpu()
        progress("trunk", len(states), len(rows))
    return Trunk(
        architecture=architecture,
        layer=layer,
        rows=tuple(rows),
        inputs=[inputs[i] for i in range(len(inputs))],
        states=[states[i] for i in range(len(rows))],
        width_I=width_I,
        width_O=width_O,
    )


def _groups(rows: Sequence[TokenRow], device: torch.device) -> list[list[int]]:
    """Indices of rows of like length."""
    return bucketed([len(row.ids) - 1 for row in rows], waste_tokens(device), BUCKET_TOKENS)


@contextmanager
def _from_block(architecture: Architecture, first: int, state_BTO: Tensor) -> Iterator[None]:
    """A model whose block `first` is the first to run, on this state."""
    below = architecture.blocks[:first]
    forwards = {block.module: passed_on(as_tuple=block.returns_tuple) for block in below}
    if below:
        top = below[-1]
        forwards[top.module] = answering(state_BTO, as_tuple=top.returns_tuple)
    with substituted(forwards):
        yield
