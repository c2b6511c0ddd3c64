"""The fact sheet: facts that a release serves by retrieval instead of writing them into weights.

The sheet of a release is complete: it has the rows of the parent's sheet that are still true, and
the new rows, but no fact that is an edit. It is written as JSON Lines, for programs that read text,
and as Parquet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from discovery.facts.change import Change
from discovery.facts.dates import to_iso
from discovery.facts.fact import Fact
from discovery.facts.tables import from_table, to_table
from discovery.probe.route import Route
from discovery.relations.labels import clean_label
from discovery.relations.relation import Relation
from discovery.trust.assessment import stated_values
from discovery.trust.subjects import Subjects
from infra.display import json_line
from infra.files.digest import digest_of
from infra.storage.stage_dir import StageDir
from pipeline.plan.edits import PlannedEdit

SHEET, SHEET_LINES = "fact_sheet.parquet", "fact_sheet.jsonl"
MAX_VALUE_CHARS = 2000
"""Values longer than this are cut between two words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetRow:
    """One fact that is true now, in words, with its evidence."""

    id: str
    """16 hex digits: digest of subject, relation and value."""
    statement: str
    """The fact as a sentence."""
    question: str
    """A question that the fact answers."""
    subject: str
    """Id of the subject."""
    subject_label: str
    relation: str
    """Id of the relation."""
    relation_label: str
    value: str
    """The object: an id or a literal."""
    label: str
    """The object in words, at most `MAX_VALUE_CHARS` characters."""
    contested: bool
    """Whether sources contradict each other about it, or one contradicts itself or is unsure."""
    since: str
    """Version whose sheet first had the row."""
    valid_from: str | None
    """First day, an ISO date as precise as the source gives it."""
    valid_until: str | None
    """Last day, an ISO date; None if the source gives none."""
    reason: str
    """Why the fact is on the sheet and not in the weights."""
    change_id: str
    """Id of the change that it was made from."""
    source: str
    """Name of the source that states the fact."""
    statement_id: str | None
    """Id of the statement in the source."""
    revision: int | None
    """Revision of the source's page or entity."""
    revision_time: str | None
    """Time of that revision, as the source gives it."""
    references: tuple[str, ...]
    """References that the source gives for the statement."""


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
    before: Iterable[SheetRow],
    routed: Iterable[tuple[Change, Route]],
    edits: Iterable[PlannedEdit],
    subjects: Subjects,
    relations: Mapping[str, Relation],
    *,
    version: str,
    full: Iterable[PlannedEdit] = (),
    why_full: str = "",
) -> list[SheetRow]:
    """All rows of a release's sheet, sorted by id. A pure function.

    before    the parent's sheet; a row stays while the snapshot has its fact
    routed    changes whose values go to the sheet, each with its route
    edits     the release's edits; their facts are left out of the sheet
    subjects  the snapshot's facts of all these subjects
    version   the new release, which is the `since` of new rows
    full      edits for which the weights have no room; their facts go to the sheet
    why_full  the reason, for a person
    """
    since: dict[str, str] = {}
    rows: dict[str, SheetRow] = {}
    for row in before:
        since[row.id] = row.since
        if _holds(row, subjects):
            rows[row.id] = row
    new = [
        row
        for change, route in routed
        for row in _rows(change, route, subjects, relations[change.relation], version)
    ]
    new += [_row_of_edit(edit, why_full, subjects, relations, version) for edit in full]
    for row in new:
        rows[row.id] = replace(row, since=since.get(row.id, row.since))
    for edit in edits:
        rows.pop(row_id(edit.subject, edit.relation, edit.target_value), None)
    return [rows[key] for key in sorted(rows)]


def row_id(subject: str, relation: str, value: str) -> str:
    """Id of a row: 16 hex digits of the digest of its fact."""
    return digest_of([subject, relation, value])[:16]


def write_sheet(rows: Sequence[SheetRow], out: StageDir) -> None:
    """Write the sheet into a stage's directory, as Parquet and as JSON Lines."""
    out.write_table(SHEET, to_table(rows, SHEET_SCHEMA))
    names = sorted(SHEET_SCHEMA.names)
    lines = (json_line({name: getattr(row, name) for name in names}) for row in rows)
    out.write_lines(SHEET_LINES, lines)


def read_sheet(table: pa.Table) -> list[SheetRow]:
    """The rows of a sheet's table."""
    return from_table(table, SheetRow)


def _holds(row: SheetRow, subjects: Subjects) -> bool:
    """Whether the snapshot still has a row's fact and, if the row is not contested, no value that
    contradicts it."""
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


def _row_of_edit(
    edit: PlannedEdit,
    reason: str,
    subjects: Subjects,
    relations: Mapping[str, Relation],
    version: str,
) -> SheetRow:
    """The row of a fact that is planned as an edit, with the dates that the snapshot gives now."""
    fact = subjects.current(edit.subject, edit.relation).get(edit.target_value)
    start, end = (fact.start or fact.point, fact.end) if fact else (None, None)
    relation = relations.get(edit.relation)
    return SheetRow(
        id=row_id(edit.subject, edit.relation, edit.target_value),
        statement=f"{edit.prompt} {edit.target}.",
        question=edit.question or edit.prompt,
        subject=edit.subject,
        subject_label=edit.subject_label,
        relation=edit.relation,
        relation_label=relation.label if relation else edit.relation,
        value=edit.target_value,
        label=edit.target,
        contested=False,
        since=version,
        valid_from=to_iso(start) if start else None,
        valid_until=to_iso(end) if end else None,
        reason=reason,
        change_id=edit.change_id,
        source=edit.source,
        statement_id=edit.statement,
        revision=edit.revision,
        revision_time=edit.revision_time,
        references=edit.references,
    )
