"""Edited facts, each with the questions that evaluate its edit. No editor sees these questions.

An edit set is a `CaseSet`, whether it comes from a plan or from a published dataset. Metrics read
the `CaseSet` only, so that they do not depend on its origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from editors.request import EditRequest, Wording
from infra.files.digest import digest_of
from infra.lm.matching import begins_with, named


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A prompt and its right answers. The answer follows the prompt after a space."""

    prompt: str
    accepted: tuple[str, ...]
    """Right answers. Any of them counts; likelihood is computed for the first only."""
    rivals: tuple[str, ...] = ()
    """Wrong answers. The first accepted answer must be likelier than each of them."""
    question: str | None = None
    """A question for the same answer, to be asked in a chat."""

    def is_right(self, answer: str) -> bool:
        """Whether a generated answer begins with an accepted one, and with no longer name of a
        wrong answer."""
        return begins_with(answer, self.accepted, self.rivals) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One test of RippleEdits (arXiv:2307.12976 section 3): a fact that must follow from the edit,
    or one that the edit must not change."""

    kind: str
    """One of logical_generalization, compositionality_i, compositionality_ii, subject_aliasing,
    preservation, relation_specificity."""
    queries: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    """Pairs of a prompt and its targets. A target is a tuple of aliases. The answer to the prompt
    must contain every target, by any of its aliases."""
    all_of: bool = True
    """True if every query has to pass, False if one is enough."""
    conditions: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = ()
    """Queries of the same form. The test counts only if the unedited model passes all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One edited fact, and the questions that evaluate its edit."""

    id: str
    """Unique in the set, without `/`."""
    relation: str
    """Wikidata property id, or the prompt's template where the id is unknown. Scores are also given
    by relation."""
    subject: str
    """Name of the subject, as the prompt has it."""
    prompt: str
    """Text before the answer, without the space between the two."""
    subject_start: int
    """Index of the subject's first character in the prompt."""
    target: str
    """The answer that the edit writes into the model."""
    accepted: tuple[str, ...]
    """Answers that count as right: the target and its aliases."""
    old: tuple[str, ...] = ()
    """Answers that were right before the edit and are wrong after it."""
    rivals: tuple[str, ...] = ()
    """Other wrong answers. The target must be likelier than each of them."""
    wordings: tuple[Wording, ...] = ()
    """Other prompts for the same answer that the editor is given beside `prompt`."""
    paraphrases: tuple[str, ...] = ()
    """Other prompts for the same answer, held out."""
    questions: tuple[str, ...] = ()
    """Questions for the same answer, to be asked in a chat. The editor may be given the first one,
    the others are held out."""
    question_start: int | None = None
    """Index of the subject's first character in the first question; None: no editor is given it."""
    subject_id: str = ""
    """Id of the subject in its source. Two subjects may have one name."""
    subject_aliases: tuple[str, ...] = ()
    """Other names of the subject."""
    near: tuple[Query, ...] = ()
    """Neighbours: prompts with the same relation and another subject. The accepted answer is the
    object of that subject."""
    same_subject: tuple[Query, ...] = ()
    """Prompts with the same subject and another relation. They may have no accepted answer."""
    portability: Mapping[str, tuple[Query, ...]] = field(default_factory=dict)
    """Consequences of the fact as questions: one_hop, reversed, logical, subject_alias."""
    criteria: tuple[Criterion, ...] = ()
    """Tests of RippleEdits."""
    essays: tuple[str, ...] = ()
    """Prompts for free text about the subject."""
    references: tuple[str, ...] = ()
    """Texts about other subjects that have the target as their object. Consistency compares the
    free text with them."""
    order: int = 0
    """Number of the batch in which the fact was edited. Later batches have greater numbers."""
    new: bool = True
    """True if the fact is edited in this edition, False if an older edition edited it and the model
    must retain it."""

    @property
    def seen(self) -> tuple[str, ...]:
        """The prompts that the editor is given."""
        asked = self.questions[:1] if self.question_start is not None else ()
        return (self.prompt, *(wording.text for wording in self.wordings), *asked)

    @property
    def wrong(self) -> tuple[str, ...]:
        """All known wrong answers, old ones first."""
        return (*self.old, *self.rivals)

    def is_right(self, answer: str) -> bool:
        """Whether a generated answer begins with the target or an alias of it, and with no longer
        name of a wrong answer."""
        return begins_with(answer, self.accepted, self.wrong) is not None

    def is_superseded(self, answer: str) -> bool:
        """Whether a generated answer begins with an old value, and with no longer name of another
        answer."""
        return begins_with(answer, self.old, (*self.accepted, *self.rivals)) is not None

    def names_target(self, answer: str) -> bool:
        """Whether an answer names the target or an alias of it anywhere, and no wrong answer."""
        found = self._named(answer)
        return bool(found & {*self.accepted}) and not found & {*self.wrong} - {*self.accepted}

    def names_old(self, answer: str) -> bool:
        """Whether an answer names an old value anywhere, and not the target."""
        found = self._named(answer)
        return bool(found & {*self.old}) and not found & {*self.accepted}

    def _named(self, answer: str) -> frozenset[str]:
        """What an answer names of the known answers. One that stands in the subject's name only is
        not named: `Paris Saint-Germain` is not `Paris`."""
        return named(answer, (*self.accepted, *self.wrong, self.subject))

    def request(self) -> EditRequest:
        """The fields that an editor sees. Raises EditError for a fact that cannot be edited."""
        question = None
        if self.questions and self.question_start is not None:
            start = self.question_start
            question = Wording(self.questions[0], (start, start + len(self.subject)))
        return EditRequest(
            wordings=self.wordings,
            question=question,
            relation=self.relation,
            subject_id=self.subject_id,
            aliases=self.subject_aliases,
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
    """Ids of the cases whose edits the answer depends on."""
    questions: tuple[str, ...]
    """Phrasings of the question. One right answer to any of them is enough."""
    accepted: tuple[str, ...]
    """Answers that count as right after the edits."""
    hops: tuple[Query, ...]
    """The facts that lead to the answer, as questions with their answers after the edits."""


@dataclass(frozen=True)
class CaseSet:
    """The facts that are edited together, and all questions that evaluate the edits."""

    name: str
    cases: Sequence[Case]
    gone: Sequence[Query] = ()
    """Facts whose edit was removed. The model must no longer give the answers in `accepted`."""
    multi_hop: Sequence[MultiHop] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many records and questions of the dataset were left out, by reason."""

    @cached_property
    def by_id(self) -> Mapping[str, Case]:
        """The cases by their ids."""
        return {case.id: case for case in self.cases}

    @cached_property
    def digest(self) -> str:
        """Digest of the name and of all cases and questions; `dropped` is no part of it."""
        return digest_of([self.name, *map(repr, (*self.cases, *self.gone, *self.multi_hop))])

    def prompts_held_out(self) -> set[str]:
        """Every prompt that no editor may have seen.

        The prompts of `gone` are not included: an editor was given them in an earlier edition, and
        a statement with such a prompt may be among those that editors are told to leave alone.
        """
        held: set[str] = set()
        for case in self.cases:
            held |= {*case.paraphrases, *case.essays, *case.questions} - {*case.seen}
            held |= {query.prompt for query in (*case.near, *case.same_subject)}
            held |= {query.question for query in case.near if query.question}
            held |= {q.prompt for queries in case.portability.values() for q in queries}
            held |= {prompt for c in case.criteria for prompt, _ in (*c.queries, *c.conditions)}
        for hop in self.multi_hop:
            held |= {*hop.questions} | {query.prompt for query in hop.hops}
        return held - {case.prompt for case in self.cases}
