"""A plan: the composition of a release, its files, and how the stages behind it read them.

edits, removals, refusals, neighbours.parquet   a row each (`pipeline.plan.edits`)
held.parquet       changes that wait for the next edition, with reasons
fact_sheet.*       facts for retrieval (`pipeline.plan.fact_sheet`)
preserved.json     statements about other subjects that the editor is told to leave alone
plan.json          the plan's hash, and the digests that it is made of
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from discovery.facts.tables import from_table, to_table
from discovery.trust.backlog import HeldChange, held_table, read_held
from infra.files.digest import digest_of, file_digest
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
PRESERVED, PLAN = "preserved.json", "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """The composition of a release, and what became of every change that is not in it."""

    edits: list[PlannedEdit]
    removals: list[Removal]
    refusals: list[Refusal]
    held: list[HeldChange]
    sheet: list[SheetRow]
    neighbours: list[Neighbour]
    preserved: list[str]
    routed: dict[str, str] = field(default_factory=dict)
    """By id of the changes put on the fact sheet for good, the rule that sent them there; known
    while the plan is made, and counted in its record."""

    def write(self, out: StageDir, *, policy: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        """Write all files; the plan's hash, over the policy, the digests of the inputs and every
        table: a plan can be approved by it."""
        tables = {
            EDITS: to_table(self.edits, EDIT_SCHEMA),
            REMOVALS: to_table(self.removals, REMOVAL_SCHEMA),
            REFUSALS: to_table(self.refusals, REFUSAL_SCHEMA),
            NEIGHBOURS: to_table(self.neighbours, NEIGHBOUR_SCHEMA),
        }
        for name, table in tables.items():
            out.write_table(name, table)
        out.write_table(HELD, held_table(self.held))
        write_sheet(self.sheet, out)
        digests = {name.removesuffix(".parquet"): file_digest(out.path / name) for name in tables}
        digests |= {name: file_digest(out.path / name) for name in (HELD, SHEET)}
        out.write_json(PRESERVED, self.preserved)
        digests["preserved"] = digest_of(self.preserved)
        plan_hash = digest_of({"config": dict(policy), "inputs": dict(inputs), **digests})
        out.write_json(PLAN, {"plan_hash": plan_hash, "inputs": dict(inputs), **digests})
        return plan_hash

    @classmethod
    def read(cls, planned: Artifact) -> Plan:
        """What `write` wrote."""
        return cls(
            edits=from_table(planned.table(EDITS), PlannedEdit),
            removals=from_table(planned.table(REMOVALS), Removal),
            refusals=from_table(planned.table(REFUSALS), Refusal),
            held=read_held(planned.table(HELD)),
            sheet=from_table(planned.table(SHEET), SheetRow),
            neighbours=from_table(planned.table(NEIGHBOURS), Neighbour),
            preserved=planned.json(PRESERVED),
        )
