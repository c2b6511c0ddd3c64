"""A plan as a value, and the files that it is written to and read from.

edits, removals, refusals, neighbours.parquet   one record a row (`pipeline.plan.edits`)
held.parquet       changes that wait for the next edition, with reasons
weights_full.parquet  edits that wait on the fact sheet until the weights have room for them
fact_sheet.*       facts for retrieval (`pipeline.plan.fact_sheet`)
preserved.json     statements about other subjects that the editor is given to leave unchanged
plan.json          the plan's hash, and the digests that it is computed from
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from discovery.facts.tables import from_table, to_table
from discovery.trust.backlog import HeldChange, held_table, read_held
from infra.files.digest import content_digest, digest_of
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir
from pipeline.plan.edits import (
    EDIT_SCHEMA,
    NEIGHBOUR_SCHEMA,
    REFUSAL_SCHEMA,
    REMOVAL_SCHEMA,
    Neighbour,
    PlannedEdit,
    Refusal,
    Removal,
)
from pipeline.plan.fact_sheet import SHEET, SheetRow, write_sheet

EDITS, REMOVALS, REFUSALS = "edits.parquet", "removals.parquet", "refusals.parquet"
NEIGHBOURS = "neighbours.parquet"
HELD = "held.parquet"
FULL = "weights_full.parquet"
PRESERVED, PLAN = "preserved.json", "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """The edits of a release, each with its lane, and what happens to every other change."""

    edits: list[PlannedEdit]
    """All edits of the release, new and carried over, sorted by id."""
    removals: list[Removal]
    """Edits of the parent release that are left out."""
    refusals: list[Refusal]
    """Changes about which nothing is done."""
    held: list[HeldChange]
    """Changes that wait for a later edition."""
    sheet: list[SheetRow]
    """The fact sheet."""
    neighbours: list[Neighbour]
    """Facts that locality is measured on."""
    preserved: list[str]
    """Statements about other subjects that the editor is given to leave unchanged."""
    routed: dict[str, str] = field(default_factory=dict)
    """Change id -> rule, of changes that are on the fact sheet and are not held. It is counted in
    the stage's record and not written, so it is empty in a plan that was read."""
    full: list[PlannedEdit] = field(default_factory=list)
    """Edits for which the weights have no room, sorted by id: their facts are on the fact sheet,
    and the next plan looks at them again."""

    def write(self, out: StageDir, *, policy: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        """Write all files and return the plan's hash.

        policy  JSON values of the settings
        inputs  digests of the stage's inputs by name

        The hash covers both, every table, and the preserved statements.
        """
        tables = {
            EDITS: to_table(self.edits, EDIT_SCHEMA),
            REMOVALS: to_table(self.removals, REMOVAL_SCHEMA),
            REFUSALS: to_table(self.refusals, REFUSAL_SCHEMA),
            NEIGHBOURS: to_table(self.neighbours, NEIGHBOUR_SCHEMA),
            FULL: to_table(self.full, EDIT_SCHEMA),
        }
        for name, table in tables.items():
            out.write_table(name, table)
        out.write_table(HELD, held_table(self.held))
        write_sheet(self.sheet, out)
        paths = {name: out.path / name for name in (*tables, HELD, SHEET)}
        digests = {
            name.removesuffix(".parquet") if name in tables else name: content_digest(path)
            for name, path in paths.items()
        }
        out.write_json(PRESERVED, self.preserved)
        digests["preserved"] = digest_of(self.preserved)
        plan_hash = digest_of({"config": dict(policy), "inputs": dict(inputs), **digests})
        out.write_json(PLAN, {"plan_hash": plan_hash, "inputs": dict(inputs), **digests})
        return plan_hash

    @classmethod
    def read(cls, planned: Artifact) -> Plan:
        """Read the plan that `write` wrote."""
        return cls(
            edits=from_table(planned.table(EDITS), PlannedEdit),
            removals=from_table(planned.table(REMOVALS), Removal),
            refusals=from_table(planned.table(REFUSALS), Refusal),
            held=read_held(planned.table(HELD)),
            sheet=from_table(planned.table(SHEET), SheetRow),
            neighbours=from_table(planned.table(NEIGHBOURS), Neighbour),
            preserved=planned.json(PRESERVED),
            full=from_table(planned.table(FULL), PlannedEdit),
        )
