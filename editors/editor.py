"""What every editor does: fit statistics, sort requests, find values, propose a delta."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from torch import Tensor

from editors.base import Base
from editors.deltas.delta import Delta
from editors.request import EditRequest

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

Part = tuple[int, int]
"""(i, n): every n-th row of the text from the i-th on, 0 <= i < n."""
WHOLE: Part = (0, 1)


def silent(_phase: str, _done: int, _total: int) -> None:
    """The Progress that says nothing."""


class Fitted(Protocol):
    """What an editor knows of the model's ordinary text, once per base model."""

    def merge(self, other: Self) -> Self:
        """That of both texts together; neither batch nor order matters beyond rounding."""
        ...

    def blend(self, other: Self, share: float) -> Self:
        """That in which the other text has this share, [0, 1], however long it is."""
        ...

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises EditError when the file is something else."""
        ...


class Store(Protocol):
    """Tensors kept by content key: what was optimised, and how far a long optimisation is."""

    def __contains__(self, key: object, /) -> bool: ...

    def __getitem__(self, key: str, /) -> Tensor: ...

    def update(self, tensors: Mapping[str, Tensor], /) -> None:
        """Keep these, all or none."""
        ...


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
    groups: tuple[tuple[EditRequest, ...], ...] = ()
    """Those whose values are to be found, each group to be optimised together."""
    live: tuple[EditRequest, ...] = ()
    """Edits that the model holds already and is to keep; set by the caller when a batch is put on
    top of an edited model instead of being solved together with what came before."""


class Editor(Protocol):
    """An editing method. Adding one: a file with this class, and a line in `EDITORS`.

    Called in this order; `fit` and `find_values` on as many workers as there are parts and groups.
    None of them writes the model.
    """

    Config: ClassVar[type[Any]]
    """Its settings, a frozen dataclass; the editor is made with one."""
    Fitted: ClassVar[type[Any] | None]
    """Type of what `fit` returns; None for a method that needs nothing: `fitted` is then None."""

    def __init__(self, config: Any = None) -> None: ...

    def fit(
        self,
        base: Base,
        texts: Iterable[str],
        part: Part = WHOLE,
        progress: Progress = silent,
        *,
        general: bool = True,
    ) -> Any:
        """What the method has to know of the model's ordinary text, once per base model.

        What all parts give merges into that of the whole. `general`: the texts stand for all text;
        else they are statements to be preserved, to be blended into what is known of that.
        """
        ...

    def fit_spec(self) -> list[Any]:
        """What `fit` depends on besides model and text, for its content key."""
        ...

    def prepare(
        self, base: Base, requests: Sequence[EditRequest], fitted: Any, known: Container[str]
    ) -> Work:
        """Set aside what cannot be edited, and group those whose values are not `known`."""
        ...

    def find_values(
        self,
        base: Base,
        group: Sequence[EditRequest],
        fitted: Any,
        progress: Progress = silent,
    ) -> dict[str, Tensor]:
        """What is optimised for one group of requests, by content key."""
        ...

    def quality(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """A few figures of what `find_values` found, for whoever watches: `{"loss": 0.05}`."""
        ...

    def propose(
        self, base: Base, work: Work, fitted: Any, store: Store, progress: Progress = silent
    ) -> Proposal:
        """A delta that makes the model give every target, and a report for every request.

        `store` holds at least what `find_values` made of all groups; a method that optimises here
        keeps in it how far it is, and goes on from there when it is called again.
        """
        ...
