"""KnowEdit (arXiv:2401.01286): wiki_recent, wiki_counterfact and ZsRE, edits with what follows from
them (portability) and what must stay (locality).

| theirs | ours |
|---|---|
| Reasoning | portability one_hop |
| Subject_Aliasing | portability subject_alias; its answers are the target's aliases |
| Logical_Generalization | portability reversed where the subject is the answer, else logical |
| Relation_Specificity | same_subject |
| Forgetfulness | a criterion of preservation |

An answer comes as text, as a list of names of one thing, or as a list of things, each a list of
names. To a question any name of any thing is right. Preservation asks for all things, as in
RippleEdits (arXiv:2307.12976), from which the wiki sets are made, and on the same condition, that
the unedited model passes; where the edit's own target is listed among what was so before, it is
not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ConfigDict, Field

from infra.lm.matching import is_one_of
from pipeline.datasets.collector import Collector, answers
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import find_subject, template_of
from pipeline.evaluate.cases import Case, Criterion, Query

Things = tuple[tuple[str, ...], ...]
"""Things, each by all its names."""


class Asked(Record):
    """A question and its answer, in one of three forms."""

    prompt: str
    ground_truth: str | list[str] | list[list[str]]

    @property
    def things(self) -> Things:
        """The answer in its fullest form, without nameless things."""
        truth = self.ground_truth
        names = [[truth]] if isinstance(truth, str) else _lists(truth)
        return tuple(dict.fromkeys(thing for one in names if (thing := answers(one))))


class Portability(Record):
    """What follows."""

    reasoning: tuple[Asked, ...] = Field(default=(), alias="Reasoning")
    subject_aliasing: tuple[Asked, ...] = Field(default=(), alias="Subject_Aliasing")
    logical: tuple[Asked, ...] = Field(default=(), alias="Logical_Generalization")


class Locality(Record):
    """What stays."""

    relation_specificity: tuple[Asked, ...] = Field(default=(), alias="Relation_Specificity")
    forgetfulness: tuple[Asked, ...] = Field(default=(), alias="Forgetfulness")


class KnowEditRecord(Record):
    """One edit. The subsets have further fields of their own, which are ignored."""

    model_config = ConfigDict(extra="ignore")

    subject: str
    prompt: str
    target_new: str
    ground_truth: str | tuple[str, ...] = ()
    """The object so far; recent facts have none."""
    rephrase: str | None = None
    rephrase_prompt: str | None = None
    portability: Portability = Portability()
    locality: Locality = Locality()


def load(source: DatasetFile, found: Collector) -> None:
    """All records of a file."""
    for row in source.rows():
        record = row.read(KnowEditRecord)
        criteria = tuple(_preserved(record, found))
        old = record.ground_truth
        case = Case(
            id=str(row.number),
            relation=template_of(record.prompt, record.subject),
            subject=record.subject,
            prompt=record.prompt,
            subject_start=find_subject(record.prompt, record.subject),
            target=record.target_new,
            accepted=_aliases(record),
            old=(old,) if isinstance(old, str) else old,
            paraphrases=tuple(filter(None, (record.rephrase, record.rephrase_prompt))),
            same_subject=_queries(record.locality.relation_specificity),
            portability=_portability(record),
            criteria=criteria,
        )
        found.add(case)


def _portability(record: KnowEditRecord) -> dict[str, tuple[Query, ...]]:
    asked = record.portability
    logical = _queries(asked.logical)
    back = tuple(query for query in logical if is_one_of(record.subject, query.accepted))
    return {
        "one_hop": _queries(asked.reasoning),
        "reversed": back,
        "logical": tuple(query for query in logical if query not in back),
        "subject_alias": _queries(asked.subject_aliasing),
    }


def _aliases(record: KnowEditRecord) -> tuple[str, ...]:
    """The target by all names that questions about the subject's aliases accept."""
    things = (thing for asked in record.portability.subject_aliasing for thing in asked.things)
    names = (name for thing in things if is_one_of(record.target_new, thing) for name in thing)
    return (record.target_new, *names)


def _preserved(record: KnowEditRecord, found: Collector) -> Iterable[Criterion]:
    for asked in record.locality.forgetfulness:
        things = tuple(one for one in asked.things if not is_one_of(record.target_new, one))
        if things:
            query = (asked.prompt.strip(), things)
            yield Criterion(kind="preservation", queries=(query,), conditions=(query,))
        else:
            found.drop("criterion: nothing but the edit's target was so before")


def _queries(asked: Iterable[Asked]) -> tuple[Query, ...]:
    return tuple(
        Query(prompt=one.prompt, accepted=tuple(name for thing in one.things for name in thing))
        for one in asked
    )


def _lists(truth: list[str] | list[list[str]]) -> list[list[str]]:
    names = [one for one in truth if isinstance(one, str)]
    return [names, *(one for one in truth if not isinstance(one, str))]
