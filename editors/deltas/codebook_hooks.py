"""A codebook in force: hooks that answer for one projection at the last token of a prompt.

Which token is asked about is known from the attention mask; whether it is asked at all, from the
cache. A pass on an empty cache is a prompt: every row is looked up once, at
its own last token. A pass behind a cache goes on with what was decided: the answer given to the
prompt is in the keys and values of the blocks above, and no new token is looked up. A prompt has
to come in one pass. B: rows. T: tokens. N: entries. I, D: width of a key and of a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from editors.deltas.passes import Given, PassHooks


def nearest(query_BI: Tensor, keys_NI: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest key and its Euclidean distance, each [B]: one matrix product for all.

    The product only ranks; the distance is that of the difference, so that a key's distance to
    itself is zero and does not depend on the batch.
    """
    scores_BN = keys_NI.square().sum(dim=1) / 2 - query_BI @ keys_NI.T
    index_B = scores_BN.argmin(dim=1)
    return index_B, (query_BI - keys_NI[index_B]).norm(dim=1)


class CodebookHooks:
    """The hooks, in force until `detach`. The model's weights are neither read nor written."""

    def __init__(
        self,
        model: nn.Module,
        decoder: nn.Module,
        projection: nn.Module,
        *,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        radii: Sequence[float],
    ) -> None:
        self._lookup_B: Tensor | None = None
        """Where this pass asks; None: it does not, or no pass is under way."""
        self._given_B: Tensor | None = None
        self._passes: PassHooks | None = None
        self._answers: RemovableHandle | None = None
        if not keys:
            return
        self._keys_NI, self._values_ND = torch.stack(list(keys)), torch.stack(list(values))
        self._radii_N = torch.tensor(radii, dtype=self._keys_NI.dtype)
        self._passes = PassHooks(model, decoder, "a codebook", begins=self._begin, ends=self._end)
        self._answers = projection.register_forward_hook(self._answer)

    def detach(self) -> None:
        """Remove the hooks: the model answers by itself again."""
        if self._passes is not None and self._answers is not None:
            self._passes.detach()
            self._answers.remove()

    @contextmanager
    def asked_at(self, lookup_B: Tensor) -> Iterator[None]:
        """Inside the `with`, the prompt of row b ends at token lookup_B[b], whatever follows it in
        the same pass.

        For prompts and answers that are scored together, and for decoding without a cache.
        """
        self._given_B = lookup_B
        try:
            yield
        finally:
            self._given_B = None

    def _begin(self, given: Given) -> None:
        """Find every row's last token of the prompt; a pass behind a cache has none."""
        self._lookup_B = None
        if not given.num_before:
            self._lookup_B = _last_tokens(given) if self._given_B is None else self._given_B

    def _end(self, _: Any) -> None:
        """The pass is over, or failed."""
        self._lookup_B = None

    def _answer(self, _module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Any:
        """The output with the values of the rows that are within a radius; None: as it is."""
        if self._lookup_B is None:
            return None
        device = output.device
        if self._keys_NI.device != device:
            self._keys_NI, self._values_ND = self._keys_NI.to(device), self._values_ND.to(device)
            self._radii_N = self._radii_N.to(device)
        lookup_B = self._lookup_B.to(device)
        rows_B = torch.arange(len(lookup_B), device=device)
        query_BI = args[0][rows_B, lookup_B].to(self._keys_NI.dtype)
        index_B, distance_B = nearest(query_BI, self._keys_NI)
        hit_B = distance_B <= self._radii_N[index_B]
        if not bool(hit_B.any()):
            return None
        output = output.clone()
        values_HD = self._values_ND[index_B[hit_B]].to(output.dtype)
        output[rows_B[hit_B], lookup_B[hit_B]] = values_HD
        return output


def _last_tokens(given: Given) -> Tensor:
    """Position of each row's last token, [B]: the last that the mask shows, padded left or right.

    Raises EditError for a mask that is not [B, T].
    """
    shown_BT = given.shown()
    return shown_BT.shape[1] - 1 - shown_BT.long().flip(dims=[1]).argmax(dim=1)
