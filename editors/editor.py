"""What every editor does: fit statistics, sort requests, find values, propose a delta."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from torch import Tensor

from editors.base import Base
from editors.deltas.delta import Delta
from editors.request import EditRequest, Wording

F = TypeVar("F")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

CorpusPart = tuple[int, int]
"""(i, n): every n-th row of the text from the i-th on, 0 <= i < n."""
WHOLE: CorpusPart = (0, 1)

NOT_FITTED: Any = None
"""What a call has as `fitted` before anything is fitted, or for a method that fits nothing."""


def silent(_phase: str, _done: int, _total: int) -> None:
    """The Progress that says nothing."""


class Fitted(Protocol):
    """What `Editor.fit` returns: statistics of the base model on a corpus."""

    def merge(self, other: Self) -> Self:
        """The statistics of both texts together. The order of texts does not matter beyond
        rounding."""
        ...

    def blend(self, other: Self, share: float) -> Self:
        """A weighted mean: weight `share`, [0, 1], for the other text, 1 - `share` for this one,
        however long the texts are."""
        ...

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises EditError when the file is something else."""
        ...


class Store(Protocol):
    """Tensors by content key: optimised values, and the state of a training that is under way."""

    def __contains__(self, key: object, /) -> bool: ...

    def __getitem__(self, key: str, /) -> Tensor: ...

    def update(self, tensors: Mapping[str, Tensor], /) -> None:
        """Keep all of these; an interrupted call keeps none of them."""
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


@dataclass(frozen=True, slots=True)
class Corpus:
    """Text that an editor is fitted on."""

    texts: Sequence[str]
    """Ordinary text, or statements that are to stay true."""
    part: CorpusPart = WHOLE
    """The part to be read by this call. What all parts give merges into that of the whole."""
    general: bool = True
    """Whether the texts stand for all text. Else they are statements to be preserved, and what they
    give is blended into what general text gives."""


@dataclass(frozen=True, slots=True)
class EditorCall(Generic[F]):
    """What every method of an editor is called with, beside its own subject."""

    base: Base
    """The unedited model."""
    fitted: F = NOT_FITTED
    """What `fit` gave over all corpora; not read by `fit`."""
    store: Store = field(default_factory=dict)
    """Where the caller keeps what `find_values` returns, and `propose` how far it is."""
    progress: Progress = silent
    """Told how far the call is."""
    relations: Mapping[str, tuple[Wording, ...]] = field(default_factory=dict)
    """What prompts may be about: id of a relation -> texts of it, each with some subject and cut
    before the object. An edit is to show in prompts about its own relation only."""


class Editor(Protocol):
    """An editing method. Adding one: a file with this class, and a line in `EDITORS`.

    Called in this order; `fit` and `find_values` on as many workers as there are parts of a corpus
    and groups of requests. No method writes the model.
    """

    changes_weights: ClassVar[bool]
    """Whether its deltas change weights of the base and nothing else."""
    in_checkpoint: ClassVar[bool]
    """Whether an exported checkpoint holds its deltas, so that any server has them that loads it
    (`Part.in_checkpoint`)."""
    low_rank: ClassVar[bool]
    """Whether its deltas are of low rank, so that a LoRA adapter holds them."""
    shardable: ClassVar[bool]
    """Whether it edits a model whose weights are spread over the processes of `Base.group`."""
    Config: ClassVar[type[Any]]
    """Its settings, a frozen dataclass; the editor is made with one."""
    Fitted: ClassVar[type[Any] | None]
    """Type of what `fit` returns; None for a method that fits nothing."""

    def __init__(self, config: Any = None) -> None: ...

    def fit(self, call: EditorCall[Any], corpus: Corpus) -> Any:
        """What the method has to know of the model's behaviour on a corpus, once per base model."""
        ...

    def fit_spec(self) -> list[Any]:
        """What `fit` depends on besides model and corpus, for its content key."""
        ...

    def prepare(self, call: EditorCall[Any], requests: Sequence[EditRequest]) -> Work:
        """Set aside what cannot be edited, and group those whose values are not in the store."""
        ...

    def find_values(self, call: EditorCall[Any], group: Sequence[EditRequest]) -> dict[str, Tensor]:
        """What is optimised for one group of requests, by content key."""
        ...

    def quality(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """A few figures of what `find_values` returned, to be shown: `{"loss": 0.05}`."""
        ...

    def propose(self, call: EditorCall[Any], work: Work) -> Proposal:
        """A delta that makes the model give every target, and a report for every request.

        The store holds at least what `find_values` made of all groups. A method that optimises here
        keeps its state in the store, and goes on from there when it is called again.
        """
        ...
