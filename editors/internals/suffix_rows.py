"""Token rows that a suffix of the model runs on: what is shared, what each row has of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(slots=True)
class SuffixRows:
    """Rows that run together, with what does not depend on δ."""

    owner_B: Tensor
    """Index of each row's fact among those running."""
    ids_BS: Tensor
    mask_BT: Tensor
    """Over P + S tokens."""
    slot_B: Tensor
    """Slot of each row's lookup token in the suffix."""
    state_BSD: Tensor
    """Hidden states that the first block to run is given, δ not yet added."""
    prefix: list[tuple[Tensor, Tensor]]
    """Keys and values, [B, heads, P, width], of the blocks kept."""
    row_M: Tensor
    slot_M: Tensor
    token_M: Tensor
    weight_M: Tensor
    """Share of each predicted token in its fact's loss."""
    base_MK: Tensor
    """Log-probabilities of the likeliest tokens by the base where a token is predicted, and last
    that of all others together, [M, K + 1]; [M, 0] where they are not needed."""
    top_MK: Tensor
    """Which tokens these are, [M, K]."""

    def select(self, kept_F: Tensor) -> SuffixRows:
        """The rows of the facts kept, renumbered."""
        new_F = kept_F.cumsum(0) - 1
        kept_B = kept_F[self.owner_B]
        kept_M = kept_B[self.row_M]
        return SuffixRows(
            owner_B=new_F[self.owner_B[kept_B]],
            ids_BS=self.ids_BS[kept_B],
            mask_BT=self.mask_BT[kept_B],
            slot_B=self.slot_B[kept_B],
            state_BSD=self.state_BSD[kept_B],
            prefix=[(keys[kept_B], values[kept_B]) for keys, values in self.prefix],
            row_M=(kept_B.cumsum(0) - 1)[self.row_M[kept_M]],
            slot_M=self.slot_M[kept_M],
            token_M=self.token_M[kept_M],
            weight_M=self.weight_M[kept_M],
            base_MK=self.base_MK[kept_M],
            top_MK=self.top_MK[kept_M],
        )

    def joined(self, other: SuffixRows) -> SuffixRows:
        """Both in one: the shorter prefixes and suffixes are padded."""
        P = max(x.mask_BT.shape[1] - x.ids_BS.shape[1] for x in (self, other))
        S = max(self.ids_BS.shape[1], other.ids_BS.shape[1])
        one, two = self._padded(P, S), other._padded(P, S)
        return SuffixRows(
            owner_B=torch.cat([one.owner_B, two.owner_B]),
            ids_BS=torch.cat([one.ids_BS, two.ids_BS]),
            mask_BT=torch.cat([one.mask_BT, two.mask_BT]),
            slot_B=torch.cat([one.slot_B, two.slot_B]),
            state_BSD=torch.cat([one.state_BSD, two.state_BSD]),
            prefix=[
                (torch.cat([k, more_k]), torch.cat([v, more_v]))
                for (k, v), (more_k, more_v) in zip(one.prefix, two.prefix, strict=True)
            ],
            row_M=torch.cat([one.row_M, two.row_M + len(one.owner_B)]),
            slot_M=torch.cat([one.slot_M, two.slot_M]),
            token_M=torch.cat([one.token_M, two.token_M]),
            weight_M=torch.cat([one.weight_M, two.weight_M]),
            base_MK=torch.cat([one.base_MK, two.base_MK]),
            top_MK=torch.cat([one.top_MK, two.top_MK]),
        )

    def _padded(self, P: int, S: int) -> SuffixRows:
        before, behind = P + self.ids_BS.shape[1] - self.mask_BT.shape[1], S - self.ids_BS.shape[1]
        return SuffixRows(
            owner_B=self.owner_B,
            ids_BS=F.pad(self.ids_BS, (0, behind)),
            mask_BT=F.pad(F.pad(self.mask_BT, (0, behind), value=1), (before, 0)),
            slot_B=self.slot_B,
            state_BSD=F.pad(self.state_BSD, (0, 0, 0, behind)),
            prefix=[
                (F.pad(keys, (0, 0, before, 0)), F.pad(values, (0, 0, before, 0)))
                for keys, values in self.prefix
            ],
            row_M=self.row_M,
            slot_M=self.slot_M,
            token_M=self.token_M,
            weight_M=self.weight_M,
            base_MK=self.base_MK,
            top_MK=self.top_MK,
        )
