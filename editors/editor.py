"""What every editor does: fit statistics, sort requests, find values, propose a delta."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

from editors.base import Base
from editors.delta import Delta
from editors.request import EditRequest
from editors.statistics import WHOLE, Part, Progress, Statistics, silent

Values = Mapping[str, Tensor]
"""Optimised values by content key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditReport:
    """What became of one request."""

    id: str
    status: Literal["edited", "quarantined"]
    reason: str = ""
    """Why it was quarantined; empty otherwise."""
    steps: int = 0
    """Evaluations of the loss."""
    loss: float | None = None
    """Loss at the value found."""
    p_target: float | None = None
    """exp(-mean NLL) of the target's tokens over contexts, with the value in place."""
    delta_norm_ratio: float | None = None
    """‖δ‖ / ‖h‖ of the value."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A delta and a report for each request, in the order of the requests."""

    delta: Delta
    reports: tuple[EditReport, ...]
    conditions: dict[str, float] = field(default_factory=dict)
    """Condition number of the solve, by weight name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A batch of requests, sorted for the editor."""

    requests: tuple[EditRequest, ...]
    """All of them."""
    refused: dict[str, str]
    """Reason, by id, for those that are set aside."""
    groups: tuple[tuple[EditRequest, ...], ...]
    """Those whose values are to be found, each group to be optimised together."""


class Editor(Protocol):
    """An editing method. Adding one: a file with this class, and a line in `EDITORS`.

    Called in this order; `fit` and `find_values` on as many workers as there are parts and groups.
    """

    Config: type
    """Its settings, a frozen dataclass; the editor is made with one."""

    def fit(
        self, base: Base, texts: Iterable[str], part: Part = WHOLE, progress: Progress = silent
    ) -> Statistics:
        """What the method has to know of the model's ordinary text, once per base model.

        The statistics of all parts merge into those of the whole.
        """
        ...

    def fit_spec(self) -> list[Any]:
        """What the statistics depend on besides model and text, for their content key."""
        ...

    def prepare(
        self, base: Base, requests: Sequence[EditRequest], fitted: Statistics, known: Container[str]
    ) -> Work:
        """Set aside what cannot be edited, and group those whose values are not `known`."""
        ...

    def find_values(self, base: Base, group: Sequence[EditRequest]) -> dict[str, Tensor]:
        """What is optimised for one group of requests, by content key."""
        ...

    def propose(
        self,
        base: Base,
        work: Work,
        fitted: Statistics,
        values: Values,
        progress: Progress = silent,
    ) -> Proposal:
        """A delta that makes the model give every target; the model is bitwise unchanged.

        `values` holds at least what `find_values` made of all groups.
        """
        ...
