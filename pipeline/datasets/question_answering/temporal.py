"""Facts that changed in the world, from TempLAMA (arXiv:2106.15110): `Tom Brady plays for _X_.`
with the old object and the new one. A record may have one of two forms:

- one change, `old` and `new` with their dates;
- a list of dated rows of one query, as IKE (arXiv:2305.12740) publishes them. The latest answer is
  the target, the earlier ones are old answers, from latest to earliest.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict

from infra.errors import ConfigError
from pipeline.datasets.collector import Collector
from pipeline.datasets.records import DatasetFile, Record, Row
from pipeline.datasets.subject_spans import ABSENT
from pipeline.evaluate.cases import Case

BLANK = "_X_"
"""Placeholder of the object in a query."""
PHRASES = {
    "P39": "{} holds the position of",
    "P54": "{} plays for",
    "P69": "{} attended",
    "P102": "{} is a member of the",
    "P108": "{} works for",
    "P127": "{} is owned by",
}
"""TempLAMA's templates that end with the object, by property, with `{}` in place of the subject.
They are needed to find the subject's name, which a record gives in the query only."""


class Value(Record):
    """An object and a year in which it was the object."""

    name: str
    id: str
    date: str


class ChangeRecord(Record):
    """One change of a fact from one object to another."""

    subject_id: str
    relation_id: str
    query: str
    old: Value
    new: Value


class Named(Record):
    """A Wikidata item."""

    wikidata_id: str
    name: str


class DatedRecord(Record):
    """One query in one year, in IKE's form. Its fields on other years are ignored."""

    model_config = ConfigDict(extra="ignore")

    id: str
    """Wikidata item of the subject, property and year: `Q313381_P54_2019`."""
    query: str
    answer: tuple[Named, ...]
    date: str
    relation: str


def load(source: DatasetFile, found: Collector) -> None:
    """Add all changes of a file to the collector. Raises ConfigError for an empty group of rows,
    and for a record that does not match the schema."""
    for row in source.rows():
        case = _of_group(row) if isinstance(row.raw, list) else _of_change(row)
        if case.subject_start == ABSENT:
            found.drop("record: its object is not the end of a known phrase")
        elif not case.old:
            found.drop("record: nothing changed")
        else:
            found.add(case, fact=(case.subject, case.relation))


def _of_change(row: Row) -> Case:
    record = row.read(ChangeRecord)
    id = f"{record.subject_id}-{record.relation_id}"
    return _case(id, record.relation_id, record.query, (record.new.name,), (record.old.name,))


def _of_group(row: Row) -> Case:
    rows = [Row(f"{row.where}.{i}", i, raw) for i, raw in enumerate(row.raw, 1)]
    dated = sorted((row.read(DatedRecord) for row in rows), key=lambda record: record.date)
    if not dated:
        raise ConfigError(f"{row.where} is an empty group. Expected dated rows of one query.")
    latest = dated[-1]
    earlier = [named.name for record in reversed(dated[:-1]) for named in record.answer]
    return _case(
        latest.id.rpartition("_")[0].replace("_", "-"),
        latest.relation,
        latest.query,
        tuple(named.name for named in latest.answer),
        earlier,
    )


def _case(id: str, relation: str, query: str, new: Sequence[str], old: Sequence[str]) -> Case:
    """The case of one change. The subject is found by removing the relation's phrase from the
    query; `subject_start` is ABSENT where the query does not match the phrase."""
    head, _, tail = PHRASES.get(relation, BLANK).partition("{}")
    prompt = query.partition(BLANK)[0].rstrip()
    fits = prompt.startswith(head) and prompt.endswith(tail) and tail
    return Case(
        id=id,
        relation=relation,
        subject=prompt[len(head) : len(prompt) - len(tail)] if fits else "",
        prompt=prompt,
        subject_start=len(head) if fits else ABSENT,
        target=new[0] if new else "",
        accepted=tuple(new),
        old=tuple(name for name in old if name not in new),
    )
