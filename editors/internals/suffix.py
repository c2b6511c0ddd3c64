"""The part of a model that a change at the lookup token can reach, made cheap to run many times.

The tokens before the lookup are run once and kept as keys and values, the hidden states up to the
edited block are kept too; a step then runs the blocks above on the tokens from the lookup on. Rows
of like length run together. Only forwards are substituted: masks, positions, norms and head stay
the model's own. A model that keeps states instead of keys and values (`Architecture.keeps_states`)
has no prefix: its rows run whole at every step, from the states kept at the edited block, or
through all blocks where one uses keys and values of another.

B: rows. P, S: prefix and suffix tokens, padded left and right so that the lookup token is at P in
every row and slot 0 of the suffix; without a prefix P is 0 and the slot is the row's own. T = P +
S. D: hidden size. F: facts. M: predicted tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from editors.internals.architecture import Architecture, Block
from editors.internals.forward import (
    answering,
    passed_on,
    recorded,
    shifted,
    substituted,
    tensor_of,
    work_dtype,
)
from editors.internals.shared_prefix import Prefix, expanded, seen, stems
from editors.internals.suffix_rows import SuffixRows
from editors.internals.tokens import TokenRow, bucketed, pad, waste_tokens

Place = Literal["block", "projection", "embedding"]
"""The module whose output δ is added to: a block, its projection, or the embedding of tokens."""
BUCKET_TOKENS = 8192
"""Suffix tokens that run together at most; bounds the memory of a step."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is kept of the full run of some rows; `SuffixRows` has the shapes."""

    state_BSD: Tensor
    prefix: list[tuple[Tensor, Tensor]]
    h_BD: Tensor
    last_BD: Tensor


class Site:
    """Where δ is added: to the output of block `layer`, which is the residual stream, to that of
    its projection, or, with `layer` 0, to that of the embedding. Unless a place is given, to the
    stream where the block adds what its projection gives, so that a change of the projection's
    weight has the same effect."""

    def __init__(
        self,
        architecture: Architecture,
        layer: int,
        *,
        place: Place | None = None,
        few_passes: bool = False,
    ) -> None:
        self.architecture = architecture
        self.layer = layer
        self.block = architecture.blocks[layer]
        self.residual = self.block.gain is not None if place is None else place == "block"
        self.first = layer + 1 if self.residual else layer
        """First block to run at every step."""
        self.whole = architecture.keeps_states
        later = range(max(self.first, 1), len(architecture.blocks))
        self.module = _site(architecture, self.block, place, residual=self.residual)
        """The module itself."""
        self.kept = [] if self.whole else [0, *later]
        """Blocks whose prefix is kept: those that run, and block 0, whose length the model
        reads."""
        self.device = architecture.model.get_input_embeddings().weight.device
        self.waste = BUCKET_TOKENS if few_passes else waste_tokens(self.device)
        """Where every pass fetches a sharded model's weights, padding is always the cheaper."""

    def prepare(
        self, rows: Sequence[TokenRow], owners: Sequence[int]
    ) -> tuple[list[SuffixRows], Tensor, Tensor]:
        """Run whole rows once.

        Returns what steps need, in buckets of like suffix length; h [B, D] at the site, and the
        last hidden state [B, D] at slot 0, both in the order of `rows`.
        """
        whole = self._whole_rows(rows)
        share = Counter(owners)
        buckets = [
            self._bucket(members, rows, owners, share, whole)
            for members in bucketed([len(self._run(r)) for r in rows], self.waste, BUCKET_TOKENS)
        ]
        return buckets, whole.h_BD, whole.last_BD

    def merged(self, buckets: Sequence[SuffixRows]) -> list[SuffixRows]:
        """Buckets that have become small, in fewer; empty ones are dropped."""
        merged: list[SuffixRows] = []
        for bucket in buckets:  # longest suffix first
            if not len(bucket.owner_B):
                continue
            short = merged[-1].ids_BS.shape[1] - bucket.ids_BS.shape[1] if merged else 0
            if merged and short * len(bucket.owner_B) <= self.waste:
                merged[-1] = merged[-1].joined(bucket)
            else:
                merged.append(bucket)
        return merged

    def _bucket(
        self,
        members: Sequence[int],
        rows: Sequence[TokenRow],
        owners: Sequence[int],
        share: Mapping[int, int],
        whole: _Whole,
    ) -> SuffixRows:
        """Some of the rows that ran whole, padded no further than they need."""
        chosen = [rows[i] for i in members]
        runs = [self._run(row) for row in chosen]
        targets = [
            (b, len(runs[b]) - row.num_target + t, row.ids[len(row.ids) - row.num_target + t])
            for b, row in enumerate(chosen)
            for t in range(row.num_target)
        ]
        columns = torch.tensor(targets, dtype=torch.long, device=self.device).reshape(-1, 3)
        weights = [1 / (share[owners[members[b]]] * chosen[b].num_target) for b, _, _ in targets]
        ids_BS, _ = pad(runs, device=self.device)
        slots = [row.lookup if self.whole else 0 for row in chosen]
        prefixes = [row.lookup - slot for row, slot in zip(chosen, slots, strict=True)]
        P = max(prefixes)
        lookups_B1 = torch.tensor(prefixes, device=self.device)[:, None]
        seen_BP = torch.arange(P, device=self.device)[None] >= P - lookups_B1
        at = torch.tensor(members, device=self.device)
        first = whole.prefix[0][0].shape[-2] - P if whole.prefix else 0
        return SuffixRows(
            owner_B=torch.tensor([owners[i] for i in members], device=self.device),
            ids_BS=ids_BS,
            mask_BT=torch.cat([seen_BP.long(), torch.ones_like(ids_BS)], dim=1),
            slot_B=torch.tensor(slots, device=self.device),
            state_BSD=whole.state_BSD[at, : ids_BS.shape[1]],
            prefix=[(keys[at, ..., first:, :], v[at, ..., first:, :]) for keys, v in whole.prefix],
            row_M=columns[:, 0],
            slot_M=columns[:, 1],
            token_M=columns[:, 2],
            weight_M=torch.tensor(weights, dtype=work_dtype(whole.h_BD.dtype), device=self.device),
            base_MK=torch.empty(len(targets), 0, device=self.device),
            top_MK=torch.empty(len(targets), 0, dtype=torch.long, device=self.device),
        )

    def _run(self, row: TokenRow) -> tuple[int, ...]:
        """Tokens of a row to run at every step."""
        return row.prefix + row.suffix if self.whole else row.suffix

    def _whole_rows(self, rows: Sequence[TokenRow]) -> _Whole:
        """Run rows in full, those of one stem and like length together, in their order."""
        P, S = max(row.lookup for row in rows), max(len(self._run(row)) for row in rows)
        order: list[int] = []
        parts: list[_Whole] = []
        for stem, group in [((), list(range(len(rows))))] if self.whole else stems(rows):
            cache = None if self.whole else DynamicCache()
            if stem:
                ids = torch.tensor([stem], device=self.device)
                self.architecture.hidden(ids, torch.ones_like(ids), cache=cache)
            lengths = [rows[i].lookup + len(rows[i].suffix) - len(stem) for i in group]
            for members in bucketed(lengths, self.waste, BUCKET_TOKENS):
                chosen = [group[j] for j in members]
                order += chosen
                parts.append(self._whole([rows[i] for i in chosen], stem, cache, P, S))
        back = torch.tensor(order, device=self.device).argsort()

        def gathered(tensors: list[Tensor]) -> Tensor:
            return torch.cat(tensors)[back]

        return _Whole(
            state_BSD=gathered([part.state_BSD for part in parts]),
            prefix=[
                (gathered([keys for keys, _ in pairs]), gathered([values for _, values in pairs]))
                for pairs in zip(*(part.prefix for part in parts), strict=True)
            ],
            h_BD=gathered([part.h_BD for part in parts]),
            last_BD=gathered([part.last_BD for part in parts]),
        )

    def _whole(
        self,
        rows: Sequence[TokenRow],
        stem: tuple[int, ...],
        stem_cache: DynamicCache | None,
        P: int,
        S: int,
    ) -> _Whole:
        """Run rows behind their stem. Padding goes behind, where causal attention never looks: a
        padding token that sees nothing is NaN in some attention kernels, and sliding windows count
        tokens from the lookup backwards."""
        ids_BT, _ = pad(
            [(row.prefix + row.suffix)[len(stem) :] for row in rows], device=self.device
        )
        mask_BT = torch.ones(len(rows), len(stem) + ids_BT.shape[1], dtype=torch.long)
        cache = expanded(stem_cache, len(rows)) if stem_cache is not None else None
        with recorded({"block": self.block.module, "site": self.module}) as calls:
            last_BTD = self.architecture.hidden(ids_BT, mask_BT.to(self.device), cache=cache)
        output_BTD = tensor_of(calls["site"].output)
        state_BTD = output_BTD if self.residual else calls["block"].hidden
        lookup_B1 = torch.tensor([[row.lookup] for row in rows], device=self.device)
        own_B1 = lookup_B1 - len(stem)
        slots_BS = (0 if self.whole else own_B1) + torch.arange(S, device=self.device)
        before_BP = lookup_B1 - P + torch.arange(P, device=self.device)
        every = torch.arange(len(rows), device=self.device)
        return _Whole(
            state_BSD=_taken(state_BTD, slots_BS.expand(len(rows), S)),
            prefix=[_left_padded(cache, i, before_BP) for i in self.kept if cache is not None],
            h_BD=output_BTD[every, own_B1[:, 0]],
            last_BD=last_BTD[every, own_B1[:, 0]],
        )

    def hidden(self, rows: SuffixRows, delta_FD: Tensor) -> Tensor:
        """Last hidden states [B, S, D] of the suffixes with δ in place."""
        blocks = self.architecture.blocks
        delta_BD = delta_FD[rows.owner_B]
        state_BSD = rows.state_BSD
        if self.residual:
            state_BSD = self._plus(state_BSD, delta_BD, rows)
        stubs = {
            block.module: passed_on(as_tuple=block.returns_tuple) for block in blocks[: self.first]
        }
        if self.first:
            top = blocks[self.first - 1]
            stubs[top.module] = answering(state_BSD, as_tuple=top.returns_tuple)
        every = self.architecture.shares_keys
        cache = None if self.whole else self._cache(rows)
        with substituted({} if every else stubs):
            if self.residual and not every:
                return self.architecture.hidden(rows.ids_BS, rows.mask_BT, cache=cache)
            with shifted(self.module, lambda out: self._plus(out, delta_BD, rows)):
                return self.architecture.hidden(rows.ids_BS, rows.mask_BT, cache=cache)

    def at_lookups(self, rows: SuffixRows, states_BSD: Tensor) -> Tensor:
        """Of the suffixes' states those at the lookup tokens, [B, D]."""
        if not self.whole:
            return states_BSD[:, 0]
        return states_BSD[torch.arange(len(states_BSD), device=self.device), rows.slot_B]

    def _cache(self, rows: SuffixRows) -> DynamicCache:
        """The prefixes of the blocks kept."""
        cache = DynamicCache()
        cache.layers.extend(DynamicLayer() for _ in self.architecture.blocks)
        for i, (keys, values) in zip(self.kept, rows.prefix, strict=True):
            cache.layers[i] = Prefix(keys, values)
        return cache

    def _plus(self, state_BSD: Tensor, delta_BD: Tensor, rows: SuffixRows) -> Tensor:
        """δ added at the lookup tokens, in δ's precision."""
        at_BD = self.at_lookups(rows, state_BSD)
        moved_BD = (at_BD.to(delta_BD.dtype) + delta_BD).to(state_BSD.dtype)
        if not self.whole:
            return torch.cat([moved_BD[:, None], state_BSD[:, 1:]], dim=1)
        every = torch.arange(len(state_BSD), device=self.device)
        return state_BSD.index_put((every, rows.slot_B), moved_BD)


def _site(
    architecture: Architecture, block: Block, place: Place | None, *, residual: bool
) -> nn.Module:
    """The module whose output δ is added to."""
    if place == "embedding":
        return architecture.model.get_input_embeddings()
    return block.module if residual else block.projection


def _left_padded(cache: DynamicCache, index: int, before_BP: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of a block's tokens `before_BP`; zeros where that is negative."""
    keys, values = seen(cache.layers[index])
    return _taken(keys, before_BP[:, None]), _taken(values, before_BP[:, None])


def _taken(source: Tensor, index: Tensor) -> Tensor:
    """source [B, ..., T, W] at tokens index [B, ..., t]: [B, ..., t, W]; zeros outside."""
    size = source.shape[-2]
    index = index.expand(*source.shape[:-2], index.shape[-1])
    inside = (index >= 0) & (index < size)
    safe = index.clamp(0, size - 1)[..., None].expand(*index.shape, source.shape[-1])
    return source.gather(-2, safe) * inside[..., None]
