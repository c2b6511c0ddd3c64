"""RippleEdits (arXiv:2307.12976): edits with six kinds of tests, which become criteria. Reads the
published subsets popular, random and recent. Records of recent have no original fact.

A file gives an edit as a sentence, `The name of the spouse of S is O.`, and its subject S by id
only. The name of S is taken from another question about the same id. Where there is none, the
sentence is split at the phrase of its relation, if it can be split in one place only.

A test of preservation does not require the edit's own target, which the files list among the former
objects of recent facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import ConfigDict

from infra.lm.matching import is_one_of
from pipeline.datasets.collector import Collector, unique
from pipeline.datasets.question_answering.ripple_relations import PHRASES, PROPERTIES
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import ABSENT
from pipeline.evaluate.cases import Case, Criterion, Query

KINDS = {
    "Logical_Generalization": "logical_generalization",
    "Compositionality_I": "compositionality_i",
    "Compositionality_II": "compositionality_ii",
    "Subject_Aliasing": "subject_aliasing",
    "Forgetfulness": "preservation",
    "Relation_Specificity": "relation_specificity",
}
"""Kinds of `Criterion` by their field in a record of RippleEdits."""
Asked = tuple[str, tuple[tuple[str, ...], ...]]
"""A prompt, and the targets that the answer must contain, each by any of its names."""


class Answer(Record):
    """One entity that an answer must name, and its aliases."""

    value: str
    aliases: tuple[str, ...]


class RippleQuery(Record):
    """A prompt and the entities that the answer must name. The other fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    prompt: str
    answers: tuple[Answer, ...]
    query_type: Literal["regular", "two_hop"]
    subject_id: str
    relation: str
    phrase: str | None = None
    """The prompt, where it differs from the relation's phrase with the subject's own name."""

    @property
    def things(self) -> tuple[tuple[str, ...], ...]:
        """The entities that the answer must name, each as a tuple of its names."""
        named = (unique((answer.value, *answer.aliases)) for answer in self.answers)
        return tuple(dict.fromkeys(names for names in named if names))


class RippleTest(Record):
    """Queries (`test_queries`), of which one (OR) or all (AND) must pass after the edit, and
    queries (`condition_queries`) that the model must pass before it."""

    test_queries: tuple[RippleQuery, ...]
    test_condition: Literal["OR", "AND"]
    condition_queries: tuple[RippleQuery, ...]


class FactRecord(Record):
    """A fact as a sentence. Ids other than the subject's are ignored."""

    model_config = ConfigDict(extra="ignore")

    prompt: str
    subject_id: str
    relation: str


class EditRecord(FactRecord):
    """The new fact, and the fact that it replaces; None for recent facts."""

    original_fact: FactRecord | None = None


class RippleRecord(Record):
    """One edit and its tests, by kind."""

    example_type: str
    edit: EditRecord
    Logical_Generalization: tuple[RippleTest, ...]
    Compositionality_I: tuple[RippleTest, ...]
    Compositionality_II: tuple[RippleTest, ...]
    Subject_Aliasing: tuple[RippleTest, ...]
    Forgetfulness: tuple[RippleTest, ...]
    Relation_Specificity: tuple[RippleTest, ...]

    @property
    def queries(self) -> Iterator[RippleQuery]:
        """Every query of every test."""
        for kind in KINDS:
            for test in getattr(self, kind):
                yield from (*test.test_queries, *test.condition_queries)


def load(source: DatasetFile, found: Collector) -> None:
    """Add all records of a file to the collector. Raises ConfigError for a record that does not
    match the schema."""
    for row in source.rows():
        record = row.read(RippleRecord)
        if record.edit.relation not in PHRASES:
            found.drop("record: the phrase of its relation is not known")
            continue
        subject = subject_of(record)
        if subject is None:
            found.drop("record: its subject cannot be told from its target")
            continue
        case = _case(str(row.number), record, subject, found)
        found.add(case, fact=(case.subject, case.relation))


def subject_of(record: RippleRecord) -> str | None:
    """The name of the edit's subject; None where it cannot be determined uniquely."""
    edit = record.edit
    for query in record.queries:
        same = query.subject_id == edit.subject_id and query.query_type == "regular"
        if same and query.phrase is None and query.relation in PHRASES:
            head, _, tail = PHRASES[query.relation].partition("{}")
            if query.prompt.startswith(head) and query.prompt.endswith(tail):
                return query.prompt[len(head) : len(query.prompt) - len(tail)]
    head, _, tail = PHRASES[edit.relation].partition("{}")
    parts = edit.prompt.removeprefix(head).split(f"{tail} ")
    return parts[0] if len(parts) == 2 and edit.prompt.startswith(head) else None


def _case(id: str, record: RippleRecord, subject: str, found: Collector) -> Case:
    edit = record.edit
    prompt = PHRASES[edit.relation].replace("{}", subject)
    target = _object(edit, prompt)
    about_aliases = (q for test in record.Subject_Aliasing for q in test.test_queries)
    names = [
        name
        for query in about_aliases
        for thing in query.things
        if is_one_of(target, thing)
        for name in thing
    ]
    old = _object(edit.original_fact, prompt) if edit.original_fact else ""
    return Case(
        id=id,
        relation=PROPERTIES[edit.relation],
        subject=subject,
        prompt=prompt,
        subject_start=PHRASES[edit.relation].index("{}") if target else ABSENT,
        target=target,
        accepted=(target, *names),
        old=(old,),
        same_subject=tuple(
            Query(prompt=q.prompt, accepted=tuple(name for thing in q.things for name in thing))
            for test in record.Relation_Specificity
            for q in test.test_queries
            if q.subject_id == edit.subject_id
        ),
        criteria=tuple(_criteria(record, target, found)),
    )


def _object(fact: FactRecord, prompt: str) -> str:
    """The sentence's text after the prompt, without its full stop; empty where the sentence does
    not begin with the prompt."""
    rest = fact.prompt.removeprefix(prompt)
    return rest.removesuffix(".").strip() if rest != fact.prompt else ""


def _criteria(record: RippleRecord, target: str, found: Collector) -> Iterable[Criterion]:
    for theirs, kind in KINDS.items():
        for test in getattr(record, theirs):
            unsaid = target if kind == "preservation" else None
            queries = tuple(_asked(query, unsaid) for query in test.test_queries)
            if queries and all(things for _, things in queries):
                yield Criterion(
                    kind=kind,
                    queries=queries,
                    all_of=test.test_condition == "AND",
                    conditions=tuple(
                        asked for q in test.condition_queries if (asked := _asked(q, unsaid))[1]
                    ),
                )
            else:
                found.drop("criterion: nothing is left that would have to be said")


def _asked(query: RippleQuery, unsaid: str | None) -> Asked:
    """The query as a prompt and its entities, without the entity named `unsaid`."""
    kept = (one for one in query.things if unsaid is None or not is_one_of(unsaid, one))
    return query.prompt.strip(), tuple(kept)
