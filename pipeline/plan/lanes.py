"""Lanes: where each fact of a release is kept.

    weights   in the weights, by an editor that changes them
    beside    beside the weights (scoped values, a codebook), by an editor that changes none
    sheet     on the fact sheet, for retrieval

The weights hold a limited number of facts, their capacity. Facts of the highest priority come
first; facts of one subject are in one lane. All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from infra.lm.normal_form import normalise
from pipeline.plan.edits import Lane, PlannedEdit

WEIGHTS_FULL = "weights full"
"""Rule that sends a fact to the fact sheet because the weights have no room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many facts the weights hold, and how that is known."""

    num_facts: int
    why: str
    """How it was measured, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """The lanes that a config has."""

    first: Lane = "weights"
    """Where facts are kept while there is room."""
    over: Lane = "sheet"
    """Where those are kept that the first lane has no room for."""
    capacity: Capacity | None = None
    """Of the first lane; None where it has room for all, as far as is known."""

    @property
    def full(self) -> str:
        """Why a fact is not in the first lane, for a person."""
        if self.capacity is None:
            return ""
        return (
            f"{WEIGHTS_FULL}: they hold {self.capacity.num_facts} facts of the highest priority "
            f"({self.capacity.why})"
        )


UNBOUNDED = Lanes()
"""Lanes of which the first has room for all."""


def divide(
    edits: Iterable[PlannedEdit], lanes: Lanes, set_aside: Collection[str] = frozenset()
) -> list[PlannedEdit]:
    """Every edit with its lane: the first one for those of the highest priority, as many as it
    holds.

    set_aside  ids of edits that will not be made: they take no room, and stay in the first lane
    """
    room = math.inf if lanes.capacity is None else lanes.capacity.num_facts
    wanted = list(edits)
    placed = [replace(edit, lane=lanes.first) for edit in wanted if edit.id in set_aside]
    used, lane = 0, lanes.first
    for group in by_priority(edit for edit in wanted if edit.id not in set_aside):
        used += len(group)
        if used > room:
            lane = lanes.over
        placed += [replace(edit, lane=lane) for edit in group]
    return placed


def by_priority(edits: Iterable[PlannedEdit]) -> list[list[PlannedEdit]]:
    """The edits by subject; the subject with the highest priority comes first."""

    def place(group: Sequence[PlannedEdit]) -> tuple[float, str]:
        return -max(edit.priority for edit in group), min(edit.id for edit in group)

    return sorted(by_subject(edits), key=place)


def by_subject(edits: Iterable[PlannedEdit]) -> list[list[PlannedEdit]]:
    """The edits of each subject, told by its name, in their order."""
    groups: dict[str, list[PlannedEdit]] = {}
    for edit in edits:
        groups.setdefault(normalise(edit.subject_label), []).append(edit)
    return list(groups.values())


def by_lane(edits: Iterable[PlannedEdit]) -> dict[str, list[str]]:
    """Lane -> ids of the edits in it; empty where they are all in one lane."""
    found: dict[str, list[str]] = {}
    for edit in edits:
        found.setdefault(edit.lane, []).append(edit.id)
    return found if len(found) > 1 else {}
