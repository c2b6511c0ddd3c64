"""Which sentences an edit is in force in: those that may be about its relation, by their words.

A sentence's vector is the mean of its tokens' input embeddings, the subject's name left out, each
of unit length around a centre and weighted by how few relations have the token in their texts; the
component that all texts share is removed (smooth inverse frequency, Arora et al., ICLR 2017). An
edit is in force where the sentence that names its subject, or the next one, is near its own
relation, and no nearer to another by more than a margin.

T: texts known. R: relations, the first of them. W: tokens of a row. L: tokens of a text. D: hidden
size. V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from editors.deltas.sentences import sentence
from infra.errors import EditError

Embed = Callable[[Tensor], Tensor]
"""Token ids [L] -> their input embeddings [L, D]."""


@dataclass(frozen=True, slots=True, eq=False)
class RelationScope:
    """Vectors of relations and of edits' own prompts, and how those of sentences are made."""

    bounds_V: Tensor
    """`editors.deltas.sentences.sentence_bounds` of the tokenizer."""
    weight_V: Tensor
    """Weight of each token, float32: inverse frequency among relations; 0 for marks."""
    centre_D: Tensor
    """What is taken from every embedding."""
    common_D: Tensor
    """The component that all texts share, of unit length."""
    vectors_TD: Tensor
    """Vectors of the relations, then of other texts of edits, of unit length."""
    num_relations: int
    """R."""
    nearness: float
    """Least cosine of a sentence to its own relation."""
    margin: float
    """How much nearer to another relation than to its own a sentence may be; a difference of
    cosines."""

    def vector(self, embed: Embed, ids_L: Tensor) -> Tensor:
        """The vector of a text, [D]; zeros for one without a token."""
        if not len(ids_L):
            return torch.zeros_like(self.centre_D)
        weight_L = self.weight_V.to(ids_L.device)[ids_L]
        around_LD = unit(embed(ids_L).float() - self.centre_D.to(ids_L.device))
        sum_D = (weight_L @ around_LD).to(self.centre_D.device)
        return unit(sum_D - (sum_D @ self.common_D) * self.common_D)

    def holds(self, embed: Embed, ids_W: Tensor, name: tuple[int, int], own: Sequence[int]) -> bool:
        """Whether an edit is in force where its subject's name stands.

        ids_W  tokens of the row, negative at padding
        name   half-open range of the name's tokens
        own    indices of the edit's vectors: its relations', its prompts'
        """
        low, high = sentence(ids_W, self.bounds_V, *name)
        named = torch.cat([ids_W[low : name[0]], ids_W[name[1] : high]])
        behind = sentence(ids_W, self.bounds_V, high, high)[1]
        return any(
            self._is_near(self.vector(embed, ids_L), own) for ids_L in (named, ids_W[high:behind])
        )

    def _is_near(self, words_D: Tensor, own: Sequence[int]) -> bool:
        """Whether a sentence of this vector may be about the relation of these texts."""
        mine = float((self.vectors_TD[list(own)] @ words_D).max())
        near_R = self.vectors_TD[: self.num_relations] @ words_D
        near_R[[t for t in own if t < self.num_relations]] = -1.0
        return mine >= self.nearness and mine >= float(near_R.max()) - self.margin

    def joined(self, other: Self) -> tuple[Self, list[int]]:
        """With the texts of another scope behind, and the indices that the other's texts then have.

        Raises EditError where the two were made of other relations.
        """
        own, more = self.vectors_TD[: self.num_relations], other.vectors_TD[: other.num_relations]
        if own.shape != more.shape or not torch.equal(own, more):
            raise EditError("scoped values made with other relations do not join. Edit anew.")
        shift = len(self.vectors_TD) - self.num_relations
        index = [t if t < self.num_relations else t + shift for t in range(len(other.vectors_TD))]
        vectors_TD = torch.cat([self.vectors_TD, other.vectors_TD[other.num_relations :]])
        return replace(self, vectors_TD=vectors_TD), index

    def tensors(self) -> dict[str, Tensor]:
        """All of it, for a file."""
        return {
            "bounds": self.bounds_V,
            "weights": self.weight_V,
            "centre": self.centre_D,
            "common": self.common_D,
            "vectors": self.vectors_TD,
            "relations": torch.tensor([self.num_relations]),
            "limits": torch.tensor([self.nearness, self.margin], dtype=torch.float64),
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The scope that `tensors` gave."""
        nearness, margin = tensors["limits"].tolist()
        return cls(
            bounds_V=tensors["bounds"],
            weight_V=tensors["weights"],
            centre_D=tensors["centre"],
            common_D=tensors["common"],
            vectors_TD=tensors["vectors"],
            num_relations=int(tensors["relations"]),
            nearness=nearness,
            margin=margin,
        )


def unit(vectors_ND: Tensor) -> Tensor:
    """Vectors of unit length; one of zeros stays."""
    return vectors_ND / vectors_ND.norm(dim=-1, keepdim=True).clamp(min=1e-12)
