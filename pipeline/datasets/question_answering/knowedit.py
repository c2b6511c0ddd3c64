"""KnowEdit (arXiv:2401.01286): wiki_recent, wiki_counterfact and ZsRE. Each edit has questions on
its consequences (portability) and on facts that must not change (locality).

| field of KnowEdit | field of `Case` |
|---|---|
| Reasoning | portability one_hop |
| Subject_Aliasing | portability subject_alias; its answers are the target's aliases |
| Logical_Generalization | portability reversed where the subject is the answer, else logical |
| Relation_Specificity | same_subject |
| Forgetfulness | a criterion of preservation |

An answer is a text, a list of names of one entity, or a list of entities, each a list of names. Any
name of any entity is a right answer to a question. A criterion of preservation requires all
entities, and counts only if the unedited model passes it, as in RippleEdits (arXiv:2307.12976),
from which the wiki sets are made. It does not require the edit's own target, which some records
list among the former objects.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ConfigDict, Field

from infra.lm.matching import is_one_of
from pipeline.datasets.collector import Collector, unique
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import find_subject, template_of
from pipeline.evaluate.cases import Case, Criterion, Query

Things = tuple[tuple[str, ...], ...]
"""Entities, each as a tuple of all its names."""


class Asked(Record):
    """A question and its answer, in one of three forms."""

    prompt: str
    ground_truth: str | list[str] | list[list[str]]

    @property
    def things(self) -> Things:
        """The answer as entities with their names; entities without a name are left out."""
        truth = self.ground_truth
        names = [[truth]] if isinstance(truth, str) else _lists(truth)
        return tuple(dict.fromkeys(thing for one in names if (thing := unique(one))))


class Portability(Record):
    """Questions on the consequences of an edit."""

    reasoning: tuple[Asked, ...] = Field(default=(), alias="Reasoning")
    subject_aliasing: tuple[Asked, ...] = Field(default=(), alias="Subject_Aliasing")
    logical: tuple[Asked, ...] = Field(default=(), alias="Logical_Generalization")


class Locality(Record):
    """Questions on facts that the edit must not change."""

    relation_specificity: tuple[Asked, ...] = Field(default=(), alias="Relation_Specificity")
    forgetfulness: tuple[Asked, ...] = Field(default=(), alias="Forgetfulness")


class KnowEditRecord(Record):
    """One edit. Fields that only some of the subsets have are ignored."""

    model_config = ConfigDict(extra="ignore")

    subject: str
    prompt: str
    target_new: str
    ground_truth: str | tuple[str, ...] = ()
    """The object before the edit; empty for recent facts, which have none."""
    rephrase: str | None = None
    rephrase_prompt: str | None = None
    portability: Portability = Portability()
    locality: Locality = Locality()


def load(source: DatasetFile, found: Collector) -> None:
    """Add all records of a file to the collector. Raises ConfigError for a record that does not
    match the schema."""
    for row in source.rows():
        record = row.read(KnowEditRecord)
        place = find_subject(record.prompt, record.subject)
        criteria = tuple(_preserved(record, found))
        old = record.ground_truth
        case = Case(
            id=str(row.number),
            relation=template_of(record.prompt, record.subject),
            subject=place.subject,
            prompt=record.prompt,
            subject_start=place.start,
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
    """The target, and its other names in the answers to questions about the subject's aliases."""
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
