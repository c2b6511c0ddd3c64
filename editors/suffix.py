"""The part of a model that a change at the lookup token can reach, made cheap to run many times.

The tokens before the lookup are run once and kept as keys and values, the hidden states up to the
edited block are kept too; a step then runs the blocks above on the tokens from the lookup on. Only
forwards are substituted: masks, positions, norms and head stay the model's own.

B: rows. P, S: prefix and suffix tokens, padded left and right so that the lookup token is at P in
every row and slot 0 of the suffix. T = P + S. D: hidden size. F: facts. M: predicted tokens.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from editors.architecture import Architecture
from editors.forward import (
    answering,
    passed_on,
    recorded,
    shifted,
    substituted,
    tensor_of,
    work_dtype,
)
from editors.tokens import Row, pad


class _Prefix(DynamicLayer):
    """Keys and values of one block's prefix; seen with new ones behind them, never extended."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys: Tensor = keys
        self.values: Tensor = values
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        return (
            torch.cat([self.keys, key_states], dim=-2),
            torch.cat([self.values, value_states], dim=-2),
        )


@dataclass(slots=True)
class SuffixRows:
    """Rows that run together, with what does not depend on δ."""

    owner_B: Tensor
    """Index of each row's fact among those running."""
    ids_BS: Tensor
    mask_BT: Tensor
    """Over P + S tokens."""
    state_BSD: Tensor
    """Hidden states that the first block to run is given, δ not yet added."""
    prefix: list[tuple[Tensor, Tensor]]
    """Keys and values, [B, heads, P, width], of the blocks kept."""
    row_M: Tensor
    slot_M: Tensor
    token_M: Tensor
    weight_M: Tensor
    """Share of each predicted token in its fact's loss."""

    def select(self, kept_F: Tensor) -> SuffixRows:
        """The rows of the facts kept, renumbered."""
        new_F = kept_F.cumsum(0) - 1
        kept_B = kept_F[self.owner_B]
        kept_M = kept_B[self.row_M]
        return SuffixRows(
            owner_B=new_F[self.owner_B[kept_B]],
            ids_BS=self.ids_BS[kept_B],
            mask_BT=self.mask_BT[kept_B],
            state_BSD=self.state_BSD[kept_B],
            prefix=[(keys[kept_B], values[kept_B]) for keys, values in self.prefix],
            row_M=(kept_B.cumsum(0) - 1)[self.row_M[kept_M]],
            slot_M=self.slot_M[kept_M],
            token_M=self.token_M[kept_M],
            weight_M=self.weight_M[kept_M],
        )


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is kept of the full run of some rows; `SuffixRows` has the shapes."""

    ids_BS: Tensor
    mask_BT: Tensor
    state_BSD: Tensor
    prefix: list[tuple[Tensor, Tensor]]
    h_BD: Tensor
    last_BD: Tensor


class Site:
    """Where δ is added: the residual stream after block `layer`, or its projection's output."""

    def __init__(self, architecture: Architecture, layer: int) -> None:
        self.architecture = architecture
        self.layer = layer
        self.block = architecture.blocks[layer]
        self.residual = self.block.gain is not None
        self.first = layer + 1 if self.residual else layer
        """First block to run at every step."""
        self.kept = [0, *range(max(self.first, 1), len(architecture.blocks))]
        """Blocks whose prefix is kept: those that run, and block 0, whose length the model
        reads."""

    def prepare(
        self, rows: Sequence[Row], owners: Sequence[int]
    ) -> tuple[SuffixRows, Tensor, Tensor]:
        """Run whole rows once, those of equal prefix together.

        Returns what steps need, h [B, D] at the site, and the last hidden state [B, D] at slot 0.
        Prefixes are padded afterwards, on the left and with zeros: a padding token that sees
        nothing is NaN in some attention kernels, and sliding windows count tokens from the lookup
        backwards.
        """
        device = self.architecture.model.get_input_embeddings().weight.device
        by_length: dict[int, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            by_length[row.lookup].append(i)
        P, S = max(by_length), max(len(row.suffix) for row in rows)
        parts = [self._whole([rows[i] for i in group], P, S) for group in by_length.values()]
        order = (
            torch.tensor([i for group in by_length.values() for i in group]).argsort().to(device)
        )

        def gathered(tensors: list[Tensor]) -> Tensor:
            return torch.cat(tensors)[order]

        targets = [
            (i, len(row.suffix) - row.num_target + t, row.ids[len(row.ids) - row.num_target + t])
            for i, row in enumerate(rows)
            for t in range(row.num_target)
        ]
        columns = torch.tensor(targets, dtype=torch.long, device=device).reshape(-1, 3)
        share = Counter(owners)
        weights = [1 / (share[owners[i]] * rows[i].num_target) for i, _, _ in targets]
        h_BD = gathered([part.h_BD for part in parts])
        state = SuffixRows(
            owner_B=torch.tensor(owners, device=device),
            ids_BS=gathered([part.ids_BS for part in parts]),
            mask_BT=gathered([part.mask_BT for part in parts]),
            state_BSD=gathered([part.state_BSD for part in parts]),
            prefix=[
                (gathered([keys for keys, _ in pairs]), gathered([values for _, values in pairs]))
                for pairs in zip(*(part.prefix for part in parts), strict=True)
            ],
            row_M=columns[:, 0],
            slot_M=columns[:, 1],
            token_M=columns[:, 2],
            weight_M=torch.tensor(weights, dtype=work_dtype(h_BD.dtype), device=device),
        )
        return state, h_BD, gathered([part.last_BD for part in parts])

    def _whole(self, rows: Sequence[Row], P: int, S: int) -> _Whole:
        """Run rows of one prefix length in full; pad what is kept to P prefix and S suffix
        tokens."""
        device = self.architecture.model.get_input_embeddings().weight.device
        p = rows[0].lookup
        ids_BT, _ = pad([row.prefix + row.suffix for row in rows], device=device)
        mask_BT = torch.ones_like(ids_BT)  # causal: tokens behind a row's end are never seen
        cache = DynamicCache()
        with recorded({"block": self.block.module, "site": self.block.projection}) as calls:
            last_BTD = self.architecture.hidden(ids_BT, mask_BT, cache=cache)
        output_BTD = tensor_of(calls["block" if self.residual else "site"].output)
        state_BTD = output_BTD if self.residual else calls["block"].hidden
        short = S - (ids_BT.shape[1] - p)
        return _Whole(
            ids_BS=F.pad(ids_BT[:, p:], (0, short)),
            mask_BT=F.pad(F.pad(mask_BT, (0, short), value=1), (P - p, 0)),
            state_BSD=F.pad(state_BTD[:, p:], (0, 0, 0, short)),
            prefix=[_first(cache, i, p, P) for i in self.kept],
            h_BD=output_BTD[:, p],
            last_BD=last_BTD[:, p],
        )

    def hidden(self, rows: SuffixRows, delta_FD: Tensor) -> Tensor:
        """Last hidden states [B, S, D] of the suffixes with δ in place."""
        blocks = self.architecture.blocks
        delta_BD = delta_FD[rows.owner_B]
        state_BSD = _plus(rows.state_BSD, delta_BD) if self.residual else rows.state_BSD
        forwards = {
            block.module: passed_on(as_tuple=block.returns_tuple) for block in blocks[: self.first]
        }
        if self.first:
            top = blocks[self.first - 1]
            forwards[top.module] = answering(state_BSD, as_tuple=top.returns_tuple)
        cache = DynamicCache()
        cache.layers.extend(DynamicLayer() for _ in blocks)
        for i, (keys, values) in zip(self.kept, rows.prefix, strict=True):
            cache.layers[i] = _Prefix(keys, values)
        with substituted(forwards):
            if self.residual:
                return self.architecture.hidden(rows.ids_BS, rows.mask_BT, cache=cache)
            with shifted(self.block.projection, lambda output: _plus(output, delta_BD)):
                return self.architecture.hidden(rows.ids_BS, rows.mask_BT, cache=cache)


def _first(cache: DynamicCache, index: int, p: int, P: int) -> tuple[Tensor, Tensor]:
    """Keys and values of a block's first `p` tokens, zeros in front up to P."""
    layer = cache.layers[index]
    assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
    padding = (0, 0, P - p, 0)
    return F.pad(layer.keys[..., :p, :], padding), F.pad(layer.values[..., :p, :], padding)


def _plus(state_BSD: Tensor, delta_BD: Tensor) -> Tensor:
    """δ added at slot 0, in δ's precision."""
    first_BD = (state_BSD[:, 0].to(delta_BD.dtype) + delta_BD).to(state_BSD.dtype)
    return torch.cat([first_BD[:, None], state_BSD[:, 1:]], dim=1)
