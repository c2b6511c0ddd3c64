"""A plan's files, for the stages behind it."""

from __future__ import annotations

from dataclasses import dataclass

from discovery.trust.backlog import HeldChange
from pipeline.plan.edits import Neighbour, PlannedEdit, Refusal, Removal
from pipeline.plan.fact_sheet import SheetRow

TABLES = ("edits", "removals", "refusals", "neighbours")
PRESERVED = "preserved.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """The composition of a release, and what became of every change that is not in it."""

    edits: list[PlannedEdit]
    removals: list[Removal]
    refusals: list[Refusal]
    held: list[HeldChange]
    sheet: list[SheetRow]
    routed: dict[str, str]
    """By id of the changes put on the fact sheet for good, the rule that sent them there."""
    neighbours: list[Neighbour]
    preserved: list[str]


HELD = "held.parquet"
"""Of a plan: what waits for the next edition."""
