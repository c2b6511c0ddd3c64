"""WikiBigEdit (arXiv:2503.05683): questions on facts that changed in Wikidata from one dump to the
next. The old object is not given.

A record may have one of two forms: the published one (`update`, `ans`), in which most fields may be
missing, and the one that LocFT reads (`prompt`, `target_new`).
"""

from __future__ import annotations

from pydantic import ConfigDict

from pipeline.datasets.collector import Collector
from pipeline.datasets.records import DatasetFile, Record
from pipeline.datasets.subject_spans import find_subject, template_of
from pipeline.evaluate.cases import Case, Query


class PublishedRecord(Record):
    """One record in the published form. Tags, ids and further phrasings are ignored."""

    model_config = ConfigDict(extra="ignore")

    subject: str
    relation: str | None = None
    update: str
    """The question."""
    ans: str
    """The new answer."""
    rephrase: str | None = None
    personas: str | None = None
    """The question in the style of a certain person."""
    mhop: str | None = None
    """A question that needs the edited fact and one more fact."""
    mhop_ans: str | None = None
    loc: str | None = None
    """A question on a fact that must not change."""
    loc_ans: str | None = None


class ShortRecord(Record):
    """One record in LocFT's form, with one rephrasing and one neighbour."""

    subject: str
    prompt: str
    target_new: str
    rephrase_prompt: str
    locality_prompt: str
    locality_ground_truth: str


def load(source: DatasetFile, found: Collector) -> None:
    """Add all records of a file to the collector. Raises ConfigError for a record that does not
    match the schema."""
    for row in source.rows():
        if "update" in row.fields():
            record = row.read(PublishedRecord)
        else:
            short = row.read(ShortRecord)
            record = PublishedRecord(
                subject=short.subject,
                update=short.prompt,
                ans=short.target_new,
                rephrase=short.rephrase_prompt,
                loc=short.locality_prompt,
                loc_ans=short.locality_ground_truth,
            )
        found.add(_case(str(row.number), record))


def _case(id: str, record: PublishedRecord) -> Case:
    place = find_subject(record.update, record.subject)
    return Case(
        id=id,
        relation=record.relation or template_of(record.update, record.subject),
        subject=place.subject,
        prompt=record.update,
        subject_start=place.start,
        target=record.ans,
        accepted=(record.ans,),
        paraphrases=tuple(filter(None, (record.rephrase, record.personas))),
        near=_question(record.loc, record.loc_ans),
        portability={"one_hop": _question(record.mhop, record.mhop_ans)},
    )


def _question(prompt: str | None, answer: str | None) -> tuple[Query, ...]:
    return (Query(prompt=prompt, accepted=(answer,)),) if prompt and answer else ()
