"""The ledger: what was decided about every change, one event a row and one Parquet file a release.

A file is computed from a release's plan, edit reports and gate. Writing it again writes the same
bytes, so a run that is repeated after an interruption adds nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from discovery.trust.backlog import HeldChange
from infra.errors import StageError
from infra.files.atomic import write_table
from infra.storage.workspace import Workspace
from infra.storage.writing import written
from pipeline.plan.edits import PlannedEdit, Refusal, Removal
from pipeline.plan.fact_sheet import SheetRow
from pipeline.plan.output import Plan

ROWS_PER_PIECE = 8192
"""Events that are records in memory at a time."""
LEDGER = "ledger"
"""Directory of the ledger in a workspace."""
Event = Literal[
    "planned", "applied", "quarantined", "superseded", "skipped", "rejected", "held", "routed"
]

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("event", pa.string(), nullable=False),
        pa.field("release", pa.string(), nullable=False),
        ("edit_id", pa.string()),
        ("change_id", pa.string()),
        pa.field("subject", pa.string(), nullable=False),
        ("subject_label", pa.string()),
        pa.field("relation", pa.string(), nullable=False),
        ("target", pa.string()),
        ("old_targets", pa.list_(pa.string())),
        ("source", pa.string()),
        ("statement", pa.string()),
        ("revision", pa.int64()),
        ("revision_time", pa.string()),
        ("references", pa.list_(pa.string())),
        ("plan_hash", pa.string()),
        ("reason", pa.string()),
    ]
)


def events(
    version: str,
    plan_hash: str,
    edits: Sequence[PlannedEdit],
    removals: Sequence[Removal],
    refusals: Sequence[Refusal],
    quarantined: dict[str, str],
    held: Sequence[HeldChange] = (),
    sheet: Sequence[SheetRow] = (),
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one release, as `LEDGER_SCHEMA` has them.

    quarantined  edit id -> reason, for edits that were refused or set aside
    held         changes that wait for a later edition
    sheet        the fact sheet; its rows that are new in this version become events
    """
    common = {"release": version, "plan_hash": plan_hash}
    for edit in edits:
        if edit.action != "carry":
            yield {"event": "planned", **common, **_evidence(edit), "reason": edit.reason}
        lost = edit.id in quarantined
        yield {
            "event": "quarantined" if lost else "applied",
            **common,
            **_evidence(edit),
            "reason": quarantined.get(edit.id, edit.action),
        }
    yield from (
        {
            "event": "superseded",
            **common,
            "edit_id": r.id,
            "subject": r.subject,
            "subject_label": r.subject_label,
            "relation": r.relation,
            "target": r.target,
            "reason": r.reason,
        }
        for r in removals
    )
    yield from (
        {
            "event": "rejected" if r.state == "rejected" else "skipped",
            **common,
            "change_id": r.change_id,
            "subject": r.subject,
            "subject_label": r.subject_label,
            "relation": r.relation,
            "reason": r.reason,
        }
        for r in refusals
    )
    yield from ({"event": "held", **common, **_waiting(h)} for h in held)
    yield from ({"event": "routed", **common, **_sheet(r)} for r in sheet if r.since == version)


@written("the ledger")
def record(
    workspace: Workspace, version: str, plan_hash: str, plan: Plan, quarantined: dict[str, str]
) -> Path:
    """Write the events of a release's plan; return the file's path.

    quarantined  edit id -> reason, for edits that were refused or set aside
    """
    path = workspace.root / LEDGER / f"{version}.parquet"
    write_table(path, rows(version, plan_hash, plan, quarantined))
    workspace.publish(path)
    return path


def rows(version: str, plan_hash: str, plan: Plan, quarantined: dict[str, str]) -> pa.Table:
    """The events of a release's plan, as `record` writes them."""
    found = events(
        version,
        plan_hash,
        plan.edits,
        plan.removals,
        plan.refusals,
        quarantined,
        plan.held,
        plan.sheet,
    )
    pieces = iter(lambda: list(islice(found, ROWS_PER_PIECE)), [])
    tables = [pa.Table.from_pylist(piece, schema=LEDGER_SCHEMA) for piece in pieces]
    return pa.concat_tables([LEDGER_SCHEMA.empty_table(), *tables])


def read(root: Path) -> pa.Table:
    """All events of a workspace, files in the order of their names. Raises StageError."""
    tables = [read_file(file) for file in sorted((root / LEDGER).glob("*.parquet"))]
    return pa.concat_tables(tables) if tables else LEDGER_SCHEMA.empty_table()


def read_file(file: Path) -> pa.Table:
    """The events in one file. Raises StageError where it cannot be read."""
    try:
        return pq.read_table(file, schema=LEDGER_SCHEMA)
    except (pa.ArrowException, OSError) as error:
        raise StageError(
            f"{file} cannot be read ({error}). Run the edition's config again: it is written anew."
        ) from None


def _waiting(h: HeldChange) -> dict[str, Any]:
    change = h.change
    return {
        "change_id": change.id,
        "subject": change.subject,
        "subject_label": change.subject_label,
        "relation": change.relation,
        "target": change.new_label,
        "old_targets": list(change.old_labels),
        "source": change.source,
        "statement": change.new_statement,
        "revision": change.revision_new,
        "revision_time": change.revision_time,
        "references": list(change.references),
        "reason": f"{h.state} since {h.since}: {'; '.join(h.reasons)}",
    }


def _sheet(row: SheetRow) -> dict[str, Any]:
    return {
        "change_id": row.change_id,
        "subject": row.subject,
        "subject_label": row.subject_label,
        "relation": row.relation,
        "target": row.label,
        "source": row.source,
        "statement": row.statement_id,
        "revision": row.revision,
        "revision_time": row.revision_time,
        "references": list(row.references),
        "reason": row.reason,
    }


def _evidence(edit: PlannedEdit) -> dict[str, Any]:
    return {
        "edit_id": edit.id,
        "change_id": edit.change_id,
        "subject": edit.subject,
        "subject_label": edit.subject_label,
        "relation": edit.relation,
        "target": edit.target,
        "old_targets": list(edit.old_targets),
        "source": edit.source,
        "statement": edit.statement,
        "revision": edit.revision,
        "revision_time": edit.revision_time,
        "references": list(edit.references),
    }
