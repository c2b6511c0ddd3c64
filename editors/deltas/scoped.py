"""Scoped values: vectors added to a block's output, each only where its subject's name ends, in a
sentence that may be about the edited relation.

A value is what a search found for the last token of a subject (`editors.values.search`). In force
it changes no prompt in which no name of its subject stands, and values of other subjects do not
change it. A model with scoped values is no plain checkpoint: the values are attached when it is
loaded.

N: names. D: hidden size. S: subjects. V: vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from editors.deltas.part import Part
from editors.deltas.relation_scope import RelationScope
from editors.deltas.scoped_hooks import ScopedHooks
from editors.request import EditRequest
from infra.errors import EditError

Name = tuple[int, ...]
"""The token ids of a subject's name as it stands in text."""


N = TypeVar("N")


@dataclass(frozen=True, slots=True, eq=False)
class SubjectValue(Generic[N]):
    """A vector that is in force where one subject's name ends."""

    names: tuple[N, ...]
    """The names of the subject."""
    value_D: Tensor
    """Float32 or wider, [D]."""
    requests: tuple[EditRequest, ...]
    """What it was found for. Kept whole: a later release may write them into the weights."""


V = TypeVar("V", bound=SubjectValue[Any])


def later_names(values: Sequence[V], later: Sequence[V]) -> tuple[V, ...]:
    """Values with those of a later writing behind them, which take over the names in both; a value
    without a name left is dropped."""
    taken = {name for value in later for name in value.names}
    kept = [
        replace(value, names=tuple(name for name in value.names if name not in taken))
        for value in values
    ]
    return (*(value for value in kept if value.names), *later)


def without_requests(values: Sequence[V], ids: Container[str]) -> tuple[V, ...]:
    """The values as if the requests of these ids had never been written.

    Raises EditError where a value was found for one of them together with another request.
    """
    kept: list[V] = []
    for value in values:
        left = [request for request in value.requests if request.id not in ids]
        if left and len(left) < len(value.requests):
            raise EditError(
                f"{left[0].subject!r} has one value for {len(value.requests)} requests. Edit anew "
                "without those that are to go."
            )
        kept += [value] if left else []
    return tuple(kept)


@dataclass(frozen=True, slots=True, eq=False)
class ScopedValue(SubjectValue[Name]):
    """The change where one subject's name ends: what is added to the block's output. Its names are
    given in tokens: within a sentence, at the beginning of a text, behind a mark."""

    texts: tuple[int, ...] = ()
    """Indices of its relations' and prompts' vectors in the part's scope."""


@dataclass(frozen=True, eq=False)
class ScopedValues(Part):
    """The scoped values at one block."""

    kind: ClassVar[str] = "scoped"
    unit: ClassVar[str] = "scoped values"

    target: str
    """Name of the block in `named_modules`."""
    edges_V: Tensor
    """`word_edges` of the tokenizer."""
    values: tuple[ScopedValue, ...] = ()
    """In the order of writing. A name is one value's only."""
    scope: RelationScope | None = None
    """What tells whether a sentence may be about an edited relation; None where no relations are
    known: the values are in force in any sentence."""

    @property
    def size(self) -> int:
        """Number of subjects."""
        return len(self.values)

    @property
    def requests(self) -> tuple[EditRequest, ...]:
        """The requests of all values."""
        return tuple(request for value in self.values for request in value.requests)

    def check(self, model: Any) -> None:
        """Raise EditError where the model has no such block, another width or vocabulary."""
        try:
            model.get_submodule(self.target)
        except AttributeError:
            raise EditError(
                f"the scoped values are for {self.target}, which {type(model).__name__} lacks."
            ) from None
        config = model.config.get_text_config()
        made = len(self.values[0].value_D), len(self.edges_V)
        if made != (config.hidden_size, config.vocab_size):
            raise EditError(
                f"the scoped values of {self.target} have width and vocabulary {made}, the model "
                f"{(config.hidden_size, config.vocab_size)}: they were made for another model."
            )

    def attach(self, model: Any) -> Callable[[], None]:
        """Put the values in force; the returned function removes the hooks."""
        names = [(name, s) for s, value in enumerate(self.values) for name in value.names]
        return ScopedHooks(
            model,
            model.get_decoder(),
            model.get_submodule(self.target),
            names=[name for name, _ in names],
            subjects=[s for _, s in names],
            values_SD=torch.stack([value.value_D for value in self.values]),
            edges_V=self.edges_V,
            scope=self.scope,
            texts=[value.texts for value in self.values],
        ).detach

    def join(self, other: Part) -> Self:
        """With the other's values written later: they take over the names that are in both.

        Raises EditError for another block or tokenizer, and for other relations.
        """
        if not isinstance(other, ScopedValues) or self.target != other.target:
            raise EditError(f"scoped values of {self.target} and {other.target} do not join.")
        if not torch.equal(self.edges_V, other.edges_V):
            raise EditError(f"scoped values of {self.target} are of two different models.")
        if (self.scope is None) != (other.scope is None):
            raise EditError(f"scoped values of {self.target} with and without relations.")
        scope, later = self.scope, other.values
        if scope is not None and other.scope is not None:
            scope, index = scope.joined(other.scope)
            later = tuple(replace(v, texts=tuple(index[t] for t in v.texts)) for v in later)
        return replace(self, values=later_names(self.values, later), scope=scope)

    def without(self, ids: Container[str]) -> Self:
        """As if the requests of these ids had never been written.

        Raises EditError where a value was found for one of them together with another request.
        """
        return replace(self, values=without_requests(self.values, ids))

    def pack(self) -> tuple[dict[str, Tensor], str]:
        """As tensors: values [S, D], edges [V], all names' tokens one after the other, and of each
        name its number of tokens and its subject [N], and those of the scope; requests and indices
        of texts as JSON."""
        names = [(name, s) for s, value in enumerate(self.values) for name in value.names]
        values = [value.value_D.detach().cpu() for value in self.values]
        rows = [
            [list(value.texts), [request.pack() for request in value.requests]]
            for value in self.values
        ]
        tensors = {
            "values": torch.stack(values) if values else torch.zeros(0, 0),
            "edges": self.edges_V,
            "tokens": torch.tensor([i for name, _ in names for i in name], dtype=torch.long),
            "lengths": torch.tensor([len(name) for name, _ in names], dtype=torch.long),
            "subjects": torch.tensor([s for _, s in names], dtype=torch.long),
        }
        if self.scope is not None:
            own = self.scope.tensors()
            tensors |= {f"scope_{name}": tensor for name, tensor in own.items()}
        return tensors, json.dumps(rows)

    @classmethod
    def unpack(cls, target: str, tensors: Mapping[str, Tensor], text: str) -> Self:
        """The part that `pack` packed."""
        rows: list[tuple[list[int], list[Any]]] = json.loads(text)
        names: list[list[Name]] = [[] for _ in rows]
        pieces = tensors["tokens"].split(tensors["lengths"].tolist())
        for piece, s in zip(pieces, tensors["subjects"].tolist(), strict=True):
            names[s].append(tuple(piece.tolist()))
        values = [
            ScopedValue(tuple(own), value_D, tuple(map(EditRequest.unpack, row)), tuple(texts))
            for own, value_D, (texts, row) in zip(names, tensors["values"], rows, strict=True)
        ]
        scope = {
            name.removeprefix("scope_"): tensor
            for name, tensor in tensors.items()
            if name.startswith("scope_")
        }
        made = RelationScope.of_tensors(scope) if scope else None
        return cls(target, tensors["edges"], tuple(values), made)
