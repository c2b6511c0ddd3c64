"""What edited models are judged by: for each edited fact its questions, all held out from editors.

An edit set, whether it comes from a plan or from a published dataset, is a `CaseSet`; every metric
reads this and nothing else of where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from editors.request import EditRequest
from infra.files.digest import digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A prompt and what is right to say next. The answer follows after a space."""

    prompt: str
    accepted: tuple[str, ...]
    """Any of these is right; the first is the one that is scored by likelihood."""
    rivals: tuple[str, ...] = ()
    """Answers that the first accepted one has to be likelier than."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One test of RippleEdits (arXiv:2307.12976 section 3): what should, or should not, follow."""

    kind: str
    """logical_generalization, compositionality_i, compositionality_ii, subject_aliasing,
    preservation, relation_specificity."""
    queries: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    """Prompt, and the targets that must all be said, each by any of its aliases."""
    all_of: bool = True
    """Whether every query has to pass, or one of them."""
    conditions: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = ()
    """Queries, of the same form, that the unedited model must pass for the test to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One edited fact."""

    id: str
    relation: str
    """Property id, or the prompt's template where there is none; groups scores."""
    subject: str
    """As it is named in the prompt."""
    prompt: str
    """Up to, not including, the answer and the space before it."""
    subject_start: int
    target: str
    accepted: tuple[str, ...]
    """Answers that count as right: the target and its aliases."""
    old: tuple[str, ...] = ()
    """Answers that the edit supersedes."""
    rivals: tuple[str, ...] = ()
    """Further answers that the target has to be likelier than."""
    paraphrases: tuple[str, ...] = ()
    near: tuple[Query, ...] = ()
    """Same relation, other subject: the accepted answer is its own object."""
    same_subject: tuple[Query, ...] = ()
    """Same subject, other relation; accepted is empty where the answer is not known."""
    portability: Mapping[str, tuple[Query, ...]] = field(default_factory=dict)
    """What follows from the fact, by kind: one_hop, reversed, logical, subject_alias."""
    criteria: tuple[Criterion, ...] = ()
    essays: tuple[str, ...] = ()
    """Prompts for free text about the subject."""
    references: tuple[str, ...] = ()
    """Texts on things of which the target is true; free text is to be like them."""
    order: int = 0
    """Which batch of edits it belongs to; later ones are newer."""
    new: bool = True
    """Whether this edition brings the fact; an older edition's must be retained."""

    def request(self) -> EditRequest:
        """What an editor gets to see. Raises EditError for what cannot be edited."""
        return EditRequest(
            id=self.id,
            prompt=self.prompt,
            subject_span=(self.subject_start, self.subject_start + len(self.subject)),
            target=self.target,
            old_targets=self.old,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiHop:
    """A question that needs several facts, some of them edited (MQuAKE, arXiv:2305.14795)."""

    id: str
    case_ids: tuple[str, ...]
    """The edits that it depends on."""
    questions: tuple[str, ...]
    """Phrasings; right is whoever answers any of them."""
    accepted: tuple[str, ...]
    hops: tuple[Query, ...]
    """The single steps, after the edits."""


@dataclass(frozen=True)
class CaseSet:
    """All that is edited together, and all that it is judged by."""

    name: str
    cases: Sequence[Case]
    gone: Sequence[Query] = ()
    """Facts whose edit was taken out; what is accepted here must not be said any more."""
    multi_hop: Sequence[MultiHop] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Records and questions of a dataset that were left out, by reason; for whoever reads a number
    of this set."""

    @cached_property
    def by_id(self) -> Mapping[str, Case]:
        return {case.id: case for case in self.cases}

    @cached_property
    def digest(self) -> str:
        """Of the whole content."""
        return digest_of([self.name, *map(repr, (*self.cases, *self.gone, *self.multi_hop))])

    def prompts_held_out(self) -> set[str]:
        """Every prompt that no editor may have seen.

        Those of `gone` are not among them: they were an editor's own once, and what is true of
        their subjects now may be a statement to be left alone.
        """
        held: set[str] = set()
        for case in self.cases:
            held |= {*case.paraphrases, *case.essays}
            held |= {query.prompt for query in (*case.near, *case.same_subject)}
            held |= {q.prompt for queries in case.portability.values() for q in queries}
            held |= {prompt for c in case.criteria for prompt, _ in (*c.queries, *c.conditions)}
        for hop in self.multi_hop:
            held |= {*hop.questions} | {query.prompt for query in hop.hops}
        return held - {case.prompt for case in self.cases}
