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
    """A decoder, its tokenizer, and a digest that content keys identify both by."""

    model: Any
    tokenizer: Any
    digest: str
    """SHA-256 or another name of the weights and of the dtype that the model computes in."""
    group: Group = SINGLE_PROCESS
    """The processes that hold the model and call editors together, each with the same arguments."""

    @cached_property
    def architecture(self) -> Architecture:
        """Its blocks and their projections. Raises ModelError for a model that cannot be edited."""
        return discover(self.model)
