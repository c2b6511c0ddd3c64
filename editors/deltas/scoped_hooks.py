"""Scoped values in force: hooks that add a vector to a block's output where a subject ends.

Names are found in the tokens of a pass and of those before it, which are kept beside the cache
(`infra.lm.cache_rows`). So what the model itself wrote is looked at like a prompt, token by token,
in any batch. Where a pass has the tokens behind a name, they tell whether the name ends there; at
the last token of a pass it is taken to end.

B: rows. T: tokens of a pass. P: tokens before it. D: hidden size. N: names. S: subjects.
V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from editors.deltas.passes import Given, PassHooks
from editors.deltas.relation_scope import RelationScope
from editors.deltas.token_names import TokenNames
from infra.errors import EditError
from infra.lm.cache_rows import NO_TOKEN, remember, remembered


class ScopedHooks:
    """The hooks, in force until `detach`. The model's weights are neither read nor written."""

    def __init__(
        self,
        model: Any,
        decoder: nn.Module,
        block: nn.Module,
        *,
        names: Sequence[Sequence[int]],
        subjects: Sequence[int],
        values_SD: Tensor,
        edges_V: Tensor,
        scope: RelationScope | None = None,
        texts: Sequence[Sequence[int]] = (),
    ) -> None:
        """
        model      what is called, or generates
        decoder    the module in it that has the blocks
        block      the one whose output is changed
        names      token ids of each name
        subjects   index of each name's subject
        values_SD  what is added where a name of the subject ends
        edges_V    `word_edges` of the tokenizer
        scope      what tells whether a sentence may be about an edited relation; None: values are
                   added in any sentence
        texts      indices, in `scope`, of each subject's own texts
        """
        self._names = TokenNames(names, edges_V)
        self._length_N = torch.tensor([len(name) for name in names])
        self._subject_N = torch.tensor(subjects)
        self._scope, self._texts = scope, texts
        self._embedding: nn.Module = model.get_input_embeddings()
        self._values_SD = values_SD
        self._ids_BW: Tensor | None = None
        """Tokens of this pass and of those before it; None: no pass is under way."""
        self._found: tuple[Tensor, Tensor, Tensor] | None = None
        """Row, place in this pass and subject of each hit."""
        self._added = block.register_forward_hook(self._add)
        self._passes = PassHooks(
            model, decoder, "scoped values", begins=self._begin, ends=self._end
        )

    def detach(self) -> None:
        """Remove the hooks: the model answers by itself again."""
        self._passes.detach()
        self._added.remove()

    def _begin(self, given: Given) -> None:
        """Find the names that end in a pass."""
        if given.ids_BT is None:
            raise EditError("a model with scoped values is given embeddings; give it token ids.")
        before_BP = _before(given.cache, given.num_before, given.ids_BT)
        new_BT = given.ids_BT.masked_fill(~given.shown(), NO_TOKEN)
        self._ids_BW = torch.cat([before_BP, new_BT], dim=1)
        if given.cache is not None:
            remember(given.cache, self._ids_BW)
        num_new = new_BT.shape[1]
        seen = self._ids_BW[:, max(0, given.num_before - self._names.longest) :]
        row_K, end_K, name_K = self._names.find(seen, num_new)
        place_K = end_K - (seen.shape[1] - num_new)
        subject_K = self._subject_N.to(name_K.device)[name_K]
        if self._scope is not None and len(row_K):
            end_K = place_K + given.num_before + 1
            start_K = end_K - self._length_N.to(name_K.device)[name_K]
            held_K = self._held(row_K, start_K, end_K, subject_K)
            row_K, place_K, subject_K = row_K[held_K], place_K[held_K], subject_K[held_K]
        self._found = (row_K, place_K, subject_K) if len(row_K) else None

    def _held(self, row_K: Tensor, start_K: Tensor, end_K: Tensor, subject_K: Tensor) -> Tensor:
        """At which names their subject's value is in force, boolean [K]."""
        hits = torch.stack([row_K, start_K, end_K, subject_K], dim=1).tolist()
        held = [self._holds(b, start, end, s) for b, start, end, s in hits]
        return torch.tensor(held, dtype=torch.bool, device=row_K.device)

    def _holds(self, b: int, start: int, end: int, subject: int) -> bool:
        """Whether a subject's value is in force at the tokens from `start` to `end` of a row.

        Where nothing stands behind the name yet, as where the model has just written it, the value
        is also in force if it was at a name of the subject before it.
        """
        assert self._scope is not None and self._ids_BW is not None
        ids_W, own = self._ids_BW[b], self._texts[subject]
        if self._scope.holds(self._embedding, ids_W, (start, end), own):
            return True
        if end < len(ids_W):
            return False
        _, last_K, name_K = self._names.find(ids_W[None, :start], start)
        return any(
            self._scope.holds(self._embedding, ids_W, (last + 1 - length, last + 1), own)
            for last, length, s in zip(
                last_K.tolist(),
                self._length_N[name_K.cpu()].tolist(),
                self._subject_N[name_K.cpu()].tolist(),
                strict=True,
            )
            if s == subject
        )

    def _end(self, output: Any) -> None:
        """Keep the tokens of a pass beside a cache that the model made itself."""
        cache = getattr(output, "past_key_values", None)
        if cache is not None and self._ids_BW is not None:
            remember(cache, self._ids_BW)
        self._ids_BW = self._found = None

    def _add(self, _: nn.Module, __: Any, output: Any) -> Any:
        """The block's output with the values added; None, which is as it is, where no name ends."""
        if self._found is None:
            return None
        state_BTD = output[0] if isinstance(output, tuple) else output
        device = state_BTD.device
        self._values_SD = self._values_SD.to(device)
        row_K, place_K, subject_K = (found.to(device) for found in self._found)
        value_KD = self._values_SD[subject_K]
        moved_KD = state_BTD[row_K, place_K].to(value_KD.dtype) + value_KD
        changed_BTD = state_BTD.clone()
        changed_BTD[row_K, place_K] = moved_KD.to(state_BTD.dtype)
        return (changed_BTD, *output[1:]) if isinstance(output, tuple) else changed_BTD


def _before(cache: Any, num_before: int, ids_BT: Tensor) -> Tensor:
    """Tokens of the passes before, [B, P]. Raises EditError where the cache was filled while the
    hooks were not there."""
    known = remembered(cache) if num_before else ids_BT[:, :0]
    if known is None or tuple(known.shape) != (len(ids_BT), num_before):
        raise EditError(
            f"a model with scoped values goes on behind {num_before} cached tokens of which it "
            "knows nothing. Run the prompt with the values in force, and a dynamic cache."
        )
    return known
