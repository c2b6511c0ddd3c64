"""Hooks at the beginning and end of a model's passes, as the outermost module is given them.

What is called may be the model, or a module in it. Within, the decoder may be given embeddings and
masks of another form: a model with a vision tower makes both itself. B: rows. T: tokens of a pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from infra.errors import EditError


@dataclass(frozen=True, slots=True)
class Given:
    """What a pass is given."""

    what: str
    """What is in force, for messages: `a codebook`."""
    ids_BT: Tensor | None
    """Token ids; None where embeddings are given."""
    embeddings_BTD: Tensor | None
    mask: Any
    """The attention mask, if any."""
    cache: Any
    """Keys and values of earlier passes; None where there is none."""

    @property
    def num_before(self) -> int:
        """Tokens in the cache."""
        return 0 if self.cache is None else int(self.cache.get_seq_length())

    def shown(self) -> Tensor:
        """Which tokens of the pass are no padding, boolean [B, T]. Raises EditError for a mask that
        does not tell."""
        given = self.embeddings_BTD if self.ids_BT is None else self.ids_BT
        assert given is not None
        num_rows, num_tokens = given.shape[:2]
        width = self.num_before + num_tokens
        if self.mask is None:
            return torch.ones(num_rows, num_tokens, dtype=torch.bool, device=given.device)
        if not isinstance(self.mask, Tensor) or tuple(self.mask.shape) != (num_rows, width):
            is_tensor = isinstance(self.mask, Tensor)
            shape = tuple(self.mask.shape) if is_tensor else type(self.mask).__name__
            raise EditError(
                f"a model with {self.what} was given an attention mask of shape {shape} for "
                f"{(num_rows, width)} tokens; give one of [rows, tokens], and a dynamic cache."
            )
        return self.mask[:, -num_tokens:].bool()


class PassHooks:
    """The hooks, in force until `detach`."""

    def __init__(
        self,
        model: nn.Module,
        decoder: nn.Module,
        what: str,
        *,
        begins: Callable[[Given], None],
        ends: Callable[[Any], None],
    ) -> None:
        """
        model    what is called, or generates
        decoder  the module in it that has the blocks
        what     what is in force, for messages
        begins   called where a pass begins
        ends     called with the output where it is over, and with None where it failed
        """
        self._what, self._begins, self._ends = what, begins, ends
        self._outermost: nn.Module | None = None
        """The module whose pass is under way; None: no pass is."""
        around = [module for module in model.modules() if decoder in module.modules()]
        self._handles = [
            *(one.register_forward_pre_hook(self._enter, with_kwargs=True) for one in around),
            *(one.register_forward_hook(self._leave, always_call=True) for one in around),
        ]

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._outermost is not None:
            return
        names = tuple(inspect.signature(module.forward).parameters)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        ids_BT, embeddings_BTD = given.get("input_ids"), given.get("inputs_embeds")
        if ids_BT is None and embeddings_BTD is None:
            return  # a module around the decoder that is called for something else
        self._begins(
            Given(
                self._what,
                ids_BT,
                embeddings_BTD,
                given.get("attention_mask"),
                given.get("past_key_values"),
            )
        )
        self._outermost = module

    def _leave(self, module: nn.Module, _: Any, output: Any) -> None:
        if module is self._outermost:
            self._outermost = None
            self._ends(output)
