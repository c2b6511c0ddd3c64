"""Hidden states carried upward through blocks that are edited one after another.

Solving layer after layer, each on the model already modified below, needs keys of layer l and the
value at the last layer many times over. Rows end at the lookup token and start at the first edited
block; nothing below it is run twice. B: rows. D: hidden size. I: width of a key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from editors.architecture import Architecture
from editors.forward import Call, recorded, tensor_of
from editors.tokens import Row

BATCH_TOKENS = 4096


@dataclass(slots=True)
class _Batch:
    """Rows of one length, so that nothing is padded and the lookup token is last."""

    order: list[int]
    state: Tensor
    """Input of the block reached, [b, T, D]."""
    calls: dict[int, Call]
    """How the model calls each block above: masks, positions and rotary tables."""


class Carry:
    """Rows waiting at the input of block `reached`. Use it under `no_grad` and `frozen`."""

    def __init__(
        self, architecture: Architecture, rows: Sequence[Row], first: int, last: int
    ) -> None:
        self.architecture = architecture
        self.reached = first
        self.last = last
        self.num_rows = len(rows)
        self._batches: list[_Batch] = []
        device = architecture.model.get_input_embeddings().weight.device
        by_length: dict[int, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            by_length[row.lookup + 1].append(i)
        for order in (
            group[start : start + max(1, BATCH_TOKENS // length)]
            for length, group in sorted(by_length.items())
            for start in range(0, len(group), max(1, BATCH_TOKENS // length))
        ):
            ids_BT = torch.tensor([rows[i].ids[: rows[i].lookup + 1] for i in order], device=device)
            mask_BT = torch.ones_like(ids_BT)
            blocks = {
                str(block.index): block.module for block in architecture.blocks[first : last + 1]
            }
            with recorded(blocks) as calls:
                architecture.hidden(ids_BT, mask_BT, stop_after=last)
            self._batches.append(
                _Batch(
                    order, calls[str(first)].hidden, {int(n): _bare(c) for n, c in calls.items()}
                )
            )

    def keys(self) -> Tensor:
        """Keys of the block reached at the lookup token, [I, B]."""
        projection = self.architecture.blocks[self.reached].projection
        columns: list[Tensor] = []
        for batch in self._batches:
            with recorded({"site": projection}) as calls:
                self._run(batch, self.reached, batch.state)
            columns.append(calls["site"].args[0][:, -1])
        return self._ordered(columns).T

    def look(self) -> tuple[Tensor, Tensor]:
        """In the model as it is now, at the lookup token: keys of the block reached, [I, B], and
        where values live, [B, D]."""
        block = self.architecture.blocks[self.last]
        projections = {
            "key": self.architecture.blocks[self.reached].projection,
            "site": block.projection,
        }
        keys: list[Tensor] = []
        found: list[Tensor] = []
        for batch in self._batches:
            state = batch.state
            with recorded(projections) as calls:
                for index in range(self.reached, self.last + 1):
                    state = self._run(batch, index, state)
            keys.append(calls["key"].args[0][:, -1])
            found.append(
                (state if block.gain is not None else tensor_of(calls["site"].output))[:, -1]
            )
        return self._ordered(keys).T, self._ordered(found)

    def advance(self, layer: int) -> None:
        """Move up to the input of block `layer`, through the blocks as they are now."""
        for batch in self._batches:
            for index in range(self.reached, layer):
                batch.state = self._run(batch, index, batch.state)
        self.reached = layer

    def _run(self, batch: _Batch, index: int, state: Tensor) -> Tensor:
        return batch.calls[index].replay(self.architecture.blocks[index].module, state)

    def _ordered(self, parts: list[Tensor]) -> Tensor:
        """Rows of all batches in the order in which they were given."""
        order = torch.tensor([i for batch in self._batches for i in batch.order])
        stacked = torch.cat(parts)
        return stacked[order.argsort().to(stacked.device)]


def _bare(call: Call) -> Call:
    """The call without the hidden states that it was made on."""
    if call.args:
        return replace(call, args=(None, *call.args[1:]), output=None)
    return replace(call, kwargs={**call.kwargs, "hidden_states": None}, output=None)
