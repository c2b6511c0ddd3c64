"""Errata: tokens of their own behind the names of edited subjects, with rows of the embedding.

The tokenizer puts the tokens behind a name wherever it stands in a text
(`infra.models.tokenizer.insertion`), and the model is given the rows. The last one is learnt; those
in front of it are copies of the base's rows of the target's tokens, so that the model has the
target before it, to be repeated. No weight of the base changes:
its embedding becomes longer. The head stays as long as it was, so no such token is ever predicted.
A name that the model itself writes has no token behind it until its text is tokenised again.

D: hidden size. S: subjects. N: tokens. V: rows of the base's embedding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from editors.deltas.part import Part
from editors.deltas.scoped import SubjectValue, later_names, without_requests
from editors.request import EditRequest
from infra.distributed.zero import whole_shape
from infra.errors import EditError
from infra.models.loading import load_tokenizer
from infra.models.longer_vocabulary import lengthen
from infra.models.tokenizer.insertion import with_insertions


@dataclass(frozen=True, slots=True, eq=False)
class Erratum(SubjectValue[str]):
    """The row of the embedding behind one subject's names, which are given as text."""

    ahead: tuple[int, ...] = ()
    """Tokens of the base, in their order, whose rows those in front of the learnt one are."""
    words: tuple[str, ...] = ()
    """A token stands in sentences with one of these only, in any where there are none
    (`with_insertions`)."""


@dataclass(frozen=True, eq=False)
class Errata(Part):
    """The rows added to the embedding, and the names that their tokens stand behind."""

    kind: ClassVar[str] = "errata"
    unit: ClassVar[str] = "errata"
    in_checkpoint: ClassVar[bool] = True

    target: str
    """Name of the embedding in `named_modules`."""
    first: int
    """Id of the first token: the number of tokens that the base's tokenizer has."""
    num_rows: int
    """V, which may be more."""
    errata: tuple[Erratum, ...] = ()
    """In the order of their tokens. A name is one erratum's only."""

    @property
    def size(self) -> int:
        """Number of subjects."""
        return len(self.errata)

    @property
    def requests(self) -> tuple[EditRequest, ...]:
        """The requests of all errata."""
        return tuple(request for erratum in self.errata for request in erratum.requests)

    def check(self, model: Any) -> None:
        """Raise EditError where the model's embedding is another one, is sharded, or is not all
        that reads token ids."""
        embedding = model.get_input_embeddings()
        name = next(name for name, module in model.named_modules() if module is embedding)
        if name != self.target:
            raise EditError(f"the errata are for {self.target}; the embedding is {name}.")
        made = self.num_rows, len(self.errata[0].value_D)
        if made != whole_shape(embedding.weight):
            raise EditError(
                f"the errata are for an embedding of shape {made}, the model's has "
                f"{whole_shape(embedding.weight)}: they were made for another model."
            )
        if made != tuple(embedding.weight.shape):
            raise EditError("a sharded embedding cannot be made longer. Run on one device.")
        others = [
            other
            for other, module in model.named_modules()
            if isinstance(module, nn.Embedding)
            and module is not embedding
            and module.num_embeddings == self.num_rows
        ]
        if others:
            raise EditError(
                f"{type(model).__name__} reads token ids in {others[0]} too, which has no rows for "
                "new tokens. Use another editor."
            )

    def attach(self, model: Any) -> Callable[[], None]:
        """Give the model a longer embedding; the returned function puts the old one back.

        A head that is tied to the embedding keeps the old one.
        """
        embedding = model.get_input_embeddings()
        old = embedding.weight
        rows_ND, weight_VD = self.rows(old.detach()), old.detach()
        behind_XD = weight_VD[self.first + len(rows_ND) :]
        longer = torch.cat([weight_VD[: self.first], rows_ND, behind_XD])
        embedding.weight = nn.Parameter(longer, requires_grad=old.requires_grad)

        def put_back() -> None:
            embedding.weight = old

        return put_back

    def rows(self, weight_VD: Tensor) -> Tensor:
        """The rows of all tokens [N, D], in the order of their ids, for a weight of the base's
        embedding, in its dtype: of each erratum the learnt one, then those in front of it, from the
        last to the first."""
        rows = [
            torch.cat([erratum.value_D[None].to(weight_VD), weight_VD[list(erratum.ahead[::-1])]])
            for erratum in self.errata
        ]
        return torch.cat(rows)

    def tokenizer(self, tokenizer: Any) -> Any:
        """A tokenizer that puts the tokens behind the names. Raises EditError for one of another
        size than the base's own, and ModelError for one that cannot do so."""
        if len(tokenizer) != self.first:
            raise EditError(
                f"the errata were made for a tokenizer of {self.first} tokens; this one has "
                f"{len(tokenizer)}. Give that of the base model."
            )
        names = [erratum.names for erratum in self.errata]
        words = [erratum.words for erratum in self.errata]
        counts = [len(erratum.ahead) + 1 for erratum in self.errata]
        return with_insertions(tokenizer, names, words, counts)

    def complete(self, checkpoint: Path) -> None:
        """Make the checkpoint's vocabulary longer by the tokens of the errata."""
        tokenizer = self.tokenizer(load_tokenizer(checkpoint))
        lengthen(checkpoint, self.rows, self.first, tokenizer)

    def join(self, other: Part) -> Self:
        """With the other's errata written later: they take over the names that are in both.

        Raises EditError for those of another model.
        """
        if not isinstance(other, Errata) or self.target != other.target:
            raise EditError(f"errata of {self.target} and {other.target} do not join.")
        if (self.first, self.num_rows) != (other.first, other.num_rows):
            raise EditError(f"errata of {self.target} are of two different models.")
        return replace(self, errata=later_names(self.errata, other.errata))

    def without(self, ids: Container[str]) -> Self:
        """As if the requests of these ids had never been written.

        Raises EditError where a row was found for one of them together with another request.
        """
        return replace(self, errata=without_requests(self.errata, ids))

    def pack(self) -> tuple[dict[str, Tensor], str]:
        """As tensors the learnt rows [S, D]; names, tokens ahead, sets of words, requests and sizes
        as JSON."""
        rows = [erratum.value_D.detach().cpu() for erratum in self.errata]
        sets = {words: i for i, words in enumerate(sorted({e.words for e in self.errata}))}
        subjects = [
            [list(e.names), e.ahead, sets[e.words], [request.pack() for request in e.requests]]
            for e in self.errata
        ]
        sizes = {"first": self.first, "num_rows": self.num_rows}
        text = json.dumps({**sizes, "words": list(sets), "subjects": subjects})
        return {"rows": torch.stack(rows) if rows else torch.zeros(0, 0)}, text

    @classmethod
    def unpack(cls, target: str, tensors: Mapping[str, Tensor], text: str) -> Self:
        """The part that `pack` packed."""
        packed: dict[str, Any] = json.loads(text)
        errata = tuple(
            Erratum(
                tuple(names),
                row_D,
                tuple(map(EditRequest.unpack, requests)),
                tuple(ahead),
                tuple(packed["words"][i]),
            )
            for (names, ahead, i, requests), row_D in zip(
                packed["subjects"], tensors["rows"], strict=True
            )
        )
        return cls(target, packed["first"], packed["num_rows"], errata)
