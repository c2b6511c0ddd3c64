"""A codebook in force: hooks that answer for one projection at the last token of a prompt.

Which token is asked about is known to the decoder only, from the attention mask; whether it is
asked at all, from the cache. A pass on an empty cache is a prompt: every row is looked up once, at
its own last token. A pass behind a cache goes on with what was decided: the answer given to the
prompt is in the keys and values of the blocks above, and no new token is looked up. A prompt has
to come in one pass. B: rows. T: tokens. N: entries. I, D: width of a key and of a value.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from infra.errors import EditError


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
        decoder: nn.Module,
        projection: nn.Module,
        *,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        radii: Sequence[float],
    ) -> None:
        self._names = tuple(inspect.signature(decoder.forward).parameters)
        self._lookup_B: Tensor | None = None
        """Where this pass asks; None: it does not, or no pass is under way."""
        self._given_B: Tensor | None = None
        self._handles: list[Any] = []
        if not keys:
            return
        self._keys_NI, self._values_ND = torch.stack(list(keys)), torch.stack(list(values))
        self._radii_N = torch.tensor(radii, dtype=self._keys_NI.dtype)
        self._handles = [
            decoder.register_forward_pre_hook(self._enter, with_kwargs=True),
            decoder.register_forward_hook(self._leave, always_call=True),
            projection.register_forward_hook(self._answer),
        ]

    def detach(self) -> None:
        """Remove the hooks: the model answers by itself again."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

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

    def _enter(self, _decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A pass of the decoder begins: find every row's last token of the prompt."""
        given = {**dict(zip(self._names, args, strict=False)), **kwargs}
        self._lookup_B = None
        cache = given.get("past_key_values")
        if cache is None or cache.get_seq_length() == 0:
            self._lookup_B = _last_tokens(given) if self._given_B is None else self._given_B

    def _leave(self, *_: Any) -> None:
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


def _last_tokens(given: Mapping[str, Any]) -> Tensor:
    """Position of each row's last token, [B]: the last that the mask shows, padded left or right.

    Raises EditError for a mask that is not [B, T].
    """
    shown = given.get("input_ids")
    shown = given["inputs_embeds"] if shown is None else shown
    num_rows, num_tokens = shown.shape[:2]
    mask_BT = given.get("attention_mask")
    if mask_BT is None:
        return torch.full((num_rows,), num_tokens - 1, device=shown.device)
    if not isinstance(mask_BT, Tensor) or tuple(mask_BT.shape) != (num_rows, num_tokens):
        shape = tuple(mask_BT.shape) if isinstance(mask_BT, Tensor) else type(mask_BT).__name__
        raise EditError(
            f"a model with a codebook was given an attention mask of shape {shape} for "
            f"{(num_rows, num_tokens)} tokens; give one of [rows, tokens], and a dynamic cache."
        )
    return num_tokens - 1 - mask_BT.long().flip(dims=[1]).argmax(dim=1)
