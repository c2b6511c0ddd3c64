"""The unedited model that editors are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from editors.internals.architecture import Architecture
from editors.internals.discover import discover
from infra.distributed.group import SINGLE_PROCESS, Group


@dataclass(frozen=True)
class Base:
    """A decoder, its tokenizer, and what identifies both in the keys of what is kept."""

    model: Any
    tokenizer: Any
    digest: str
    """Of the weights and the dtype they are computed in."""
    group: Group = SINGLE_PROCESS
    """The processes that hold the model and call editors together, each with the same arguments."""

    @cached_property
    def architecture(self) -> Architecture:
        """Its layers. Raises ModelError for a model that cannot be edited."""
        return discover(self.model)
