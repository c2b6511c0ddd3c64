"""Hidden states carried upward through blocks that are edited one after another.

Solving layer after layer, each on the model already modified below, needs keys of layer l and the
value at the last layer many times over. Rows end at the lookup token and start at the first edited
block; nothing below it is run twice, and what rows share in front is run once for all of them. In
a model that keeps states instead of keys and values, rows share nothing and no cache is made.
B: rows. D: hidden size. I: width of a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from editors.internals.architecture import Architecture, Block
from editors.internals.forward import Call, recorded, tensor_of
from editors.internals.shared_prefix import Prefix, expanded, seen, stems
from editors.internals.tokens import TokenRow, bucketed, pad, waste_tokens

BATCH_TOKENS = 4096
_CACHE = object()
"""Stands for the cache in a recorded call."""


@dataclass(slots=True)
class _Group:
    """Rows behind one stem, in batches of like length, padded behind the lookup token, where no
    attention looks. The stem, if there is one, is the first batch, and no row of its own."""

    has_stem: bool
    order: list[list[int]]
    """Which rows, by batch; of the stem none."""
    lookups: list[Tensor]
    """Where each row's lookup token is among those behind the stem, [b], by batch without the
    stem."""
    states: list[Tensor]
    """Input of the block reached, [b, T, D], of the tokens behind the stem."""
    calls: list[dict[int, Call]]
    """How the model calls each block above: masks, positions and rotary tables."""

    def at_lookups(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Of the batches' states [b, T, D], stem left out, those at the lookup tokens, [b, D]."""
        return [
            state[torch.arange(len(at)), at] for state, at in zip(states, self.lookups, strict=True)
        ]


class Carry:
    """The hidden states of rows at the input of block `reached`, from which the blocks above are
    run. Use it under `no_grad` and `frozen`."""

    def __init__(
        self, architecture: Architecture, rows: Sequence[TokenRow], first: int, last: int
    ) -> None:
        self.architecture = architecture
        self.reached = first
        self.last = last
        self.num_rows = len(rows)
        self.device = architecture.model.get_input_embeddings().weight.device
        whole: tuple[tuple[int, ...], list[int]] = ((), list(range(len(rows))))
        groups = [whole] if architecture.keeps_states else stems(rows)
        self._groups = [self._group(rows, stem, members) for stem, members in groups]

    def _group(self, rows: Sequence[TokenRow], stem: tuple[int, ...], members: list[int]) -> _Group:
        """Run a stem and the rows behind it up to the last block to be edited."""
        group = _Group(bool(stem), [], [], [], [])
        cache = None if self.architecture.keeps_states else DynamicCache()
        if stem:
            self._add(group, [stem], [], cache)
        own = [rows[i].ids[len(stem) : rows[i].lookup + 1] for i in members]
        for batch in bucketed(list(map(len, own)), waste_tokens(self.device), BATCH_TOKENS):
            lookups = [len(own[j]) - 1 for j in batch]
            group.lookups.append(torch.tensor(lookups, device=self.device))
            order = [members[j] for j in batch]
            in_front = None if cache is None else expanded(cache, len(order))
            self._add(group, [own[j] for j in batch], order, in_front)
        return group

    def _add(
        self,
        group: _Group,
        ids: Sequence[Sequence[int]],
        order: list[int],
        cache: DynamicCache | None,
    ) -> None:
        """Run rows behind what the cache holds; keep how the blocks are called."""
        ids_BT, _ = pad(ids, device=self.device)
        length = (cache.get_seq_length() if cache is not None else 0) + ids_BT.shape[1]
        seen_BT = torch.ones(len(ids), length, dtype=torch.long, device=self.device)
        blocks = self.architecture.blocks[self.reached : self.last + 1]
        with recorded({str(block.index): block.module for block in blocks}) as calls:
            self.architecture.hidden(ids_BT, seen_BT, cache=cache, stop_after=self.last)
        group.order.append(order)
        group.states.append(calls[str(self.reached)].hidden)
        group.calls.append({int(name): _bare(call) for name, call in calls.items()})

    def keys(self) -> Tensor:
        """Keys of the block reached at the lookup token, [I, B]."""
        block = self.architecture.blocks[self.reached]
        columns: list[Tensor] = []
        for group in self._groups:
            _, projected = self._run(group, block, group.states)
            columns += group.at_lookups([call.args[0] for call in projected])
        return self._ordered(columns).T

    def look(self) -> tuple[Tensor, Tensor]:
        """At the lookup token, with the changes in force: keys of the block reached, [I, B], and
        the states that values are wanted for, [B, D] (the output of block `last`, or of its
        projection where the block normalises that)."""
        blocks = self.architecture.blocks[self.reached : self.last + 1]
        keys: list[Tensor] = []
        found: list[Tensor] = []
        for group in self._groups:
            states, projected = group.states, list[Call]()
            for block in blocks:
                states, projected = self._run(group, block, states)
                if block.index == self.reached:
                    keys += group.at_lookups([call.args[0] for call in projected])
            if blocks[-1].gain is None:
                states = [tensor_of(call.output) for call in projected]
            found += group.at_lookups(states[-len(projected) :])
        return self._ordered(keys).T, self._ordered(found)

    def advance(self, layer: int) -> None:
        """Run the blocks below `layer` with the changes in force now, and set `reached` to it."""
        for group in self._groups:
            for block in self.architecture.blocks[self.reached : layer]:
                group.states, _ = self._run(group, block, group.states)
        self.reached = layer

    def _run(
        self, group: _Group, block: Block, states: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Call]]:
        """What the block makes of the states of stem and batches; the batches' calls of its
        projection."""
        made: list[Tensor] = []
        projected: list[Call] = []
        in_front: tuple[Tensor, Tensor] | None = None
        for called, state in zip(group.calls, states, strict=True):
            cache = DynamicCache()
            if in_front:
                keys, values = (x.expand(len(state), *x.shape[1:]) for x in in_front)
                cache.layers.extend(DynamicLayer() for _ in range(block.index))
                cache.layers.append(Prefix(keys, values))
            with recorded({"projection": block.projection}) as calls:
                made.append(_cached(called[block.index], cache).replay(block.module, state))
            if group.has_stem and in_front is None:
                in_front = seen(cache.layers[block.index])
            else:
                projected.append(calls["projection"])
        return made, projected

    def _ordered(self, parts: list[Tensor]) -> Tensor:
        """Rows of all batches in the order in which they were given."""
        order = torch.tensor([i for group in self._groups for rows in group.order for i in rows])
        stacked = torch.cat(parts)
        return stacked[order.argsort().to(stacked.device)]


def _bare(call: Call) -> Call:
    """The call without the hidden states that it was made on and without what its cache holds."""
    args = [_CACHE if isinstance(x, Cache) else x for x in call.args]
    kwargs = {k: _CACHE if isinstance(x, Cache) else x for k, x in call.kwargs.items()}
    if args:
        return Call((None, *args[1:]), kwargs, None)
    return Call((), {**kwargs, "hidden_states": None}, None)


def _cached(call: Call, cache: Cache) -> Call:
    """The call with this cache in its place."""
    args = tuple(cache if x is _CACHE else x for x in call.args)
    kwargs = {k: cache if x is _CACHE else x for k, x in call.kwargs.items()}
    return replace(call, args=args, kwargs=kwargs)
