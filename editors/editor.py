"""What every editor does: fit statistics, name values by content, propose a delta."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

from editors.delta import Delta
from editors.request import EditRequest
from editors.statistics import Progress, Statistics, silent


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


class Editor(Protocol):
    """An editing method. Adding one: a file with this class, and a line in `EDITORS`."""

    Config: type
    """Its settings, a frozen dataclass; the editor is made with one."""

    def fit(
        self,
        model: Any,
        tokenizer: Any,
        texts: Iterable[str],
        *,
        part: tuple[int, int] = (0, 1),
        progress: Progress = silent,
    ) -> Statistics:
        """What the method has to know of the model's ordinary text, once per base model.

        The statistics of part (i, n), i < n, merge into those of the whole.
        """
        ...

    def fit_spec(self) -> list[Any]:
        """What the statistics depend on besides model and text, for their content key."""
        ...

    def chunks(
        self,
        model: Any,
        tokenizer: Any,
        requests: Sequence[EditRequest],
        *,
        known: Container[str],
        base_digest: str,
    ) -> list[tuple[EditRequest, ...]]:
        """Groups of requests to be optimised apart, leaving out those whose values are known."""
        ...

    def find_values(
        self, model: Any, tokenizer: Any, requests: Sequence[EditRequest], *, base_digest: str
    ) -> dict[str, Tensor]:
        """What is optimised for one group of requests, by content key."""
        ...

    def propose(
        self,
        model: Any,
        tokenizer: Any,
        requests: Sequence[EditRequest],
        statistics: Statistics,
        *,
        values: Mapping[str, Tensor],
        base_digest: str,
        progress: Progress = silent,
    ) -> Proposal:
        """A delta that makes `model` give every target; `model` is bitwise unchanged.

        `values` holds at least what `find_values` made of all `chunks`.
        """
        ...
