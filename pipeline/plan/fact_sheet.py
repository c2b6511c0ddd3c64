"""The fact sheet: facts for retrieval that are not written into weights, each in plain words.

Like the edits, the sheet of a release is the whole state: rows of the parent's sheet that still
hold, less those that became edits, and the new ones. Written as JSON Lines, for whatever reads
text, and as Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from discovery.facts.change import Change
from discovery.facts.dates import to_iso
from discovery.facts.fact import Fact
from discovery.facts.tables import to_table
from discovery.probe.route import Route
from discovery.relations.labels import clean_label
from discovery.relations.relation import Relation
from discovery.trust.assessment import stated_values
from discovery.trust.subjects import Subjects
from infra.files.atomic import write_atomic
from infra.files.digest import digest_of
from infra.storage.stage_dir import StageDir
from pipeline.plan.edits import PlannedEdit

SHEET, SHEET_LINES = "fact_sheet.parquet", "fact_sheet.jsonl"
MAX_VALUE_CHARS = 2000
"""Longer values are cut at a word: a sheet is for sentences, not for documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetRow:
    """One current fact."""

    id: str
    """16 hex digits: digest of subject, relation and value."""
    statement: str
    """The fact as a sentence."""
    question: str
    """What the fact answers."""
    subject: str
    subject_label: str
    relation: str
    relation_label: str
    value: str
    label: str
    """The value as it is said."""
    contested: bool
    """Whether the source gives other values too, or says that it is disputed."""
    since: str
    """Version whose sheet first had the row."""
    valid_from: str | None
    """ISO date, as precise as the source gives it."""
    valid_until: str | None
    reason: str
    """Why the fact is here and not in the weights."""
    change_id: str
    source: str
    statement_id: str | None
    revision: int | None
    revision_time: str | None
    references: tuple[str, ...]


SHEET_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("statement", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("subject_label", pa.string(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("relation_label", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("contested", pa.bool_(), nullable=False),
        pa.field("since", pa.string(), nullable=False),
        ("valid_from", pa.string()),
        ("valid_until", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("change_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("statement_id", pa.string()),
        ("revision", pa.int64()),
        ("revision_time", pa.string()),
        ("references", pa.list_(pa.string())),
    ]
)


def fact_sheet(
    before: Sequence[SheetRow],
    routed: Iterable[tuple[Change, Route]],
    edits: Iterable[PlannedEdit],
    subjects: Subjects,
    relations: Mapping[str, Relation],
    *,
    version: str,
) -> list[SheetRow]:
    """The whole sheet, sorted by id; pure.

    before    the parent's sheet; a row stays while the snapshot says that its fact holds
    routed    changes that go to the sheet, each with its route
    edits     what the weights hold: such a fact is not on the sheet too
    subjects  the snapshot's facts of all these subjects
    """
    known = {row.id: row for row in before}
    rows = {row.id: row for row in before if _holds(row, subjects)}
    for change, route in routed:
        for row in _rows(change, route, subjects, relations[change.relation], version):
            rows[row.id] = replace(row, since=known[row.id].since) if row.id in known else row
    for edit in edits:
        rows.pop(row_id(edit.subject, edit.relation, edit.target_value), None)
    return [rows[key] for key in sorted(rows)]


def row_id(subject: str, relation: str, value: str) -> str:
    """Identity of a fact on the sheet."""
    return digest_of([subject, relation, value])[:16]


def write_sheet(rows: Sequence[SheetRow], out: StageDir) -> None:
    """Both files."""
    out.write_table(SHEET, to_table(rows, SHEET_SCHEMA))
    lines = [json.dumps(asdict(row), ensure_ascii=False, sort_keys=True) + "\n" for row in rows]

    def write(path: Path) -> None:
        path.write_text("".join(lines), encoding="utf-8")

    write_atomic(out.path / SHEET_LINES, write)


def _holds(row: SheetRow, subjects: Subjects) -> bool:
    """Whether the snapshot says that a row's fact holds, and as surely as the row does."""
    current = subjects.current(row.subject, row.relation)
    if row.value not in current:
        return False
    several = row.relation not in subjects.functional or subjects.functional[row.relation]
    return row.contested or bool(several) or len(current) == 1


def _rows(
    change: Change, route: Route, subjects: Subjects, relation: Relation, version: str
) -> list[SheetRow]:
    """A row for each value that the change says holds now."""
    labels = (change.new_label,) if change.new_value is not None else change.old_labels
    current = subjects.current(change.subject, change.relation)
    return [
        _row(change, route, value, label or value, current.get(value), relation, version)
        for value, label in zip(stated_values(change), labels, strict=True)
    ]


def _row(
    change: Change,
    route: Route,
    value: str,
    label: str,
    fact: Fact | None,
    relation: Relation,
    version: str,
) -> SheetRow:
    name = change.subject_label or change.subject
    said = clean_label(label, MAX_VALUE_CHARS)
    start = (fact.start or fact.point) if fact else change.since
    end = fact.end if fact else None
    return SheetRow(
        id=row_id(change.subject, change.relation, value),
        statement=f"{relation.prompt(relation.statements[0], name).text} {said}.",
        question=relation.ask(name),
        subject=change.subject,
        subject_label=name,
        relation=change.relation,
        relation_label=relation.label,
        value=value,
        label=said,
        contested=change.kind == "conflict",
        since=version,
        valid_from=to_iso(start) if start else None,
        valid_until=to_iso(end) if end else None,
        reason=route.reason,
        change_id=change.id,
        source=fact.source if fact else change.source,
        statement_id=fact.statement_id if fact else change.new_statement,
        revision=fact.revision if fact else change.revision_new,
        revision_time=fact.revision_time if fact else change.revision_time,
        references=fact.references if fact else change.references,
    )
