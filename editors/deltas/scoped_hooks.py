"""Scoped values in force: hooks that add a vector to a block's output where a subject ends.

A hook of the outermost module that is given token ids finds the names in those of a pass, of earlier
passes too: they are kept beside the cache (`infra.lm.cache_rows`). Within it the decoder may be
given embeddings, as where images are among the tokens. So what the model itself wrote is looked at
like a prompt, token by token, in any batch. Where a pass has the tokens behind a name, they tell
whether the name ends there; at the last token of a pass it is taken to end.

B: rows. T: tokens of a pass. P: tokens before it. D: hidden size. N: names.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from editors.deltas.token_names import TokenNames
from infra.errors import EditError
from infra.lm.cache_rows import NO_TOKEN, remember, remembered


class ScopedHooks:
    """The hooks, in force until `detach`. The model's weights are neither read nor written."""

    def __init__(
        self,
        model: nn.Module,
        decoder: nn.Module,
        block: nn.Module,
        *,
        names: Sequence[Sequence[int]],
        values_ND: Tensor,
        edges_V: Tensor,
    ) -> None:
        """
        model      what is called, or generates
        decoder    the module in it that has the blocks
        names      token ids of each name
        values_ND  what is added where the name ends
        edges_V    `word_edges` of the tokenizer
        """
        self._decoder = decoder
        self._names = TokenNames(names, edges_V)
        self._values_ND = values_ND
        self._owner: nn.Module | None = None
        """The module whose pass is under way; None: no pass is."""
        self._ids_BW: Tensor | None = None
        """Tokens of this pass and of those before it."""
        self._found: tuple[Tensor, Tensor, Tensor] | None = None
        """Row, place in this pass and name of each hit."""
        around = [module for module in model.modules() if decoder in module.modules()]
        self._handles = [
            block.register_forward_hook(self._add),
            *(one.register_forward_pre_hook(self._enter, with_kwargs=True) for one in around),
            *(one.register_forward_hook(self._leave, always_call=True) for one in around),
        ]

    def detach(self) -> None:
        """Remove the hooks: the model answers by itself again."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A pass begins, unless it is one within another: find the names that end in it."""
        if self._owner is not None:
            return
        names = tuple(inspect.signature(module.forward).parameters)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        ids_BT = given.get("input_ids")
        if ids_BT is None:
            if module is self._decoder:
                raise EditError(
                    "a model with scoped values is given embeddings; give it token ids."
                )
            return
        self._owner = module
        cache = given.get("past_key_values")
        before_BP = _before(cache, ids_BT)
        new_BT = ids_BT.masked_fill(~_shown(given.get("attention_mask"), ids_BT), NO_TOKEN)
        self._ids_BW = torch.cat([before_BP, new_BT], dim=1)
        if cache is not None:
            remember(cache, self._ids_BW)
        num_before, num_new = before_BP.shape[1], ids_BT.shape[1]
        seen = self._ids_BW[:, max(0, num_before - self._names.longest) :]
        row_K, end_K, name_K = self._names.find(seen, num_new)
        self._found = (row_K, end_K - (seen.shape[1] - num_new), name_K) if len(row_K) else None

    def _leave(self, module: nn.Module, _: Any, output: Any) -> None:
        """The pass is over, or failed: keep its tokens beside a cache that the model made itself."""
        if module is not self._owner:
            return
        cache = getattr(output, "past_key_values", None)
        if cache is not None and self._ids_BW is not None:
            remember(cache, self._ids_BW)
        self._owner = self._ids_BW = self._found = None

    def _add(self, _: nn.Module, __: Any, output: Any) -> Any:
        """The block's output with the values added; None, which is as it is, where no name ends."""
        if self._found is None:
            return None
        row_K, place_K, name_K = self._found
        state_BTD = output[0] if isinstance(output, tuple) else output
        if self._values_ND.device != state_BTD.device:
            self._values_ND = self._values_ND.to(state_BTD.device)
        row_K, place_K = row_K.to(state_BTD.device), place_K.to(state_BTD.device)
        changed_BTD = state_BTD.clone()
        value_KD = self._values_ND[name_K.to(state_BTD.device)]
        moved_KD = state_BTD[row_K, place_K].to(value_KD.dtype) + value_KD
        changed_BTD[row_K, place_K] = moved_KD.to(state_BTD.dtype)
        return (changed_BTD, *output[1:]) if isinstance(output, tuple) else changed_BTD


def _before(cache: Any, ids_BT: Tensor) -> Tensor:
    """Tokens of the passes before, [B, P]. Raises EditError where the cache was filled while the
    hooks were not there."""
    num_before = 0 if cache is None else int(cache.get_seq_length())
    known = remembered(cache) if num_before else ids_BT[:, :0]
    if known is None or tuple(known.shape) != (len(ids_BT), num_before):
        raise EditError(
            f"a model with scoped values goes on behind {num_before} cached tokens of which it "
            "knows nothing. Run the prompt with the values in force, and a dynamic cache."
        )
    return known


def _shown(mask: Any, ids_BT: Tensor) -> Tensor:
    """Which tokens of a pass are no padding, boolean [B, T]. Raises EditError for a mask that does
    not tell."""
    if mask is None:
        return torch.ones_like(ids_BT, dtype=torch.bool)
    if not isinstance(mask, Tensor) or mask.ndim != 2 or len(mask) != len(ids_BT):
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise EditError(
            f"a model with scoped values was given an attention mask of shape {shape}; give one of "
            "[rows, tokens], and a dynamic cache."
        )
    return mask[:, -ids_BT.shape[1] :].bool()
