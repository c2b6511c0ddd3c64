"""Find the edits that make a batch fail the gate, by edits and evaluations of its halves.

Edits of one subject stay together. If a half passes, none of its edits is a culprit; if it fails,
its own halves are tried; a single group that fails is a culprit. If both halves pass but the whole
fails, the cause is the number of the edits or their interaction: no edit is a culprit then, and the
record says so. About 2 b log2(n/b) trials find b culprits among n groups (Hwang 1972).

How many of them pass together is found by halving, too, in an order that the caller gives
(`find_room`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_TRIALS = 64
"""Most trials of one search; each edits and evaluates part of the batch."""
Group = tuple[str, ...]
"""Ids of edits that stay together, being about one subject."""
Attempt = Callable[[Group], Sequence[str]]
"""Edits the base model with the edits of some ids, and returns a sentence for each check that the
edited model fails."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of editing and evaluating one part of the batch."""

    ids: Group
    failed: tuple[str, ...]
    """A sentence for each check that failed; empty if the part passes."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many of the edits pass together, in the order of their groups."""

    passed: Group
    """The most that pass."""
    failed: Group
    """The fewest that fail: those, and the next group."""
    over: Group
    """Edits that are not among those that pass."""

    def as_json(self) -> dict[str, Any]:
        """The two numbers, and the edits over the first, as JSON values."""
        return {
            "passed": len(self.passed),
            "failed": len(self.failed),
            "moved": list(self.over),
        }


@dataclass
class Search:
    """The record of a search: all its trials, in their order, and what was found."""

    trials: list[Trial] = field(default_factory=list)
    culprits: list[Trial] = field(default_factory=list)
    """Trials of single groups that failed."""
    interactions: list[Group] = field(default_factory=list)
    """Edits of parts that fail although both of their halves pass."""
    given_up: bool = False
    """Whether the search ended early because it had used all its trials."""
    room: Room | None = None
    """How many edits pass together; None where that was not asked, or all do."""

    def fails(self, part: Sequence[Group], attempt: Attempt) -> bool:
        """Whether a part of the batch fails, by a trial, which is recorded; one that was made
        before is not made again."""
        ids = tuple(i for group in part for i in group)
        outcome = next((t for t in self.trials if set(t.ids) == set(ids)), None)
        if outcome is None:
            outcome = Trial(ids, tuple(attempt(ids)))
            self.trials.append(outcome)
        return bool(outcome.failed)

    def blame(self, group: Group) -> None:
        """Add a group that was tried alone, and failed, to the culprits."""
        self.culprits.append(next(t for t in self.trials if set(t.ids) == set(group)))

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values, as `gate.json` has it."""
        return {
            "probes": [{"ids": list(p.ids), "failed": list(p.failed)} for p in self.trials],
            "culprits": {i: "; ".join(p.failed) for p in self.culprits for i in p.ids},
            "interactions": [list(ids) for ids in self.interactions],
            "given_up": self.given_up,
            "capacity": self.room.as_json() if self.room else None,
        }


def search(
    groups: Sequence[Group],
    attempt: Attempt,
    *,
    max_trials: int = MAX_TRIALS,
    stop_at_number: bool = False,
) -> Search:
    """Find the groups of edits that fail alone.

    groups      all groups of a batch that is known to fail, the most suspect first
    max_trials  most calls of `attempt`
    stop_at_number  whether the search ends at the first part whose halves pass: larger parts then
                fail by their number, whether or not they have culprits
    """
    found = Search()

    def look(part: Sequence[Group]) -> None:
        """Search a part of the batch that is known to fail."""
        if len(part) == 1:
            found.blame(part[0])
            return
        if len(found.trials) + 2 > max_trials:
            found.given_up = True
            return
        halves = part[: len(part) // 2], part[len(part) // 2 :]
        bad = [half for half in halves if found.fails(half, attempt)]
        if not bad:
            found.interactions.append(tuple(i for group in part for i in group))
        for half in bad:
            if not (stop_at_number and found.interactions):
                look(half)

    if len(groups) == 1 and found.fails(groups, attempt):
        found.blame(groups[0])
    elif len(groups) > 1:
        look(list(groups))
    return found


def find_room(
    groups: Sequence[Group],
    attempt: Attempt,
    found: Search,
    *,
    all_fail: bool,
    max_trials: int = MAX_TRIALS,
) -> Room | None:
    """The most groups, from the first on, that pass together; None where all of them do.

    groups      in the order in which they come first
    found       record of the trials; a group that fails alone is added to its culprits, left out,
                and the number is found without it
    all_fail    whether all groups together are known to fail
    max_trials  most trials in the record; after them, the number is one that passes, and not the
                greatest

    About log2(n) + 1 trials, and as many again for each culprit before the first group that is too
    much. Culprits behind it are not found.
    """
    rest = list(groups)
    low = 0
    while rest and (all_fail or found.fails(rest, attempt)):
        high = len(rest)
        while high - low > 1 and len(found.trials) < max_trials:
            middle = (low + high) // 2
            if found.fails(rest[:middle], attempt):
                high = middle
            else:
                low = middle
        found.given_up |= high - low > 1 or len(found.trials) >= max_trials
        if found.given_up or not found.fails(rest[low:high], attempt):
            parts = rest[:low], rest[:high], rest[low:]
            return Room(*(tuple(i for group in part for i in group) for part in parts))
        found.blame(rest.pop(low))
        all_fail = False
    return None
