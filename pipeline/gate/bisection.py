"""Find the edits that make a batch fail the gate, by edits and evaluations of its halves.

Edits of one subject stay together. If a half passes, none of its edits is a culprit; if it fails,
its own halves are tried; a single group that fails is a culprit. If both halves pass but the whole
fails, the cause is the number of the edits or their interaction: no edit is a culprit then, and the
record says so. About 2 b log2(n/b) trials find b culprits among n groups (Hwang 1972).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_TRIALS = 64
"""Most trials of one search; each edits and evaluates part of the batch."""
Group = tuple[str, ...]
"""Ids of edits that stay together, being about one subject."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of editing and evaluating one part of the batch."""

    ids: Group
    failed: tuple[str, ...]
    """A sentence for each check that failed; empty if the part passes."""


@dataclass
class Search:
    """The record of a search: all its trials, in their order, and the culprits found."""

    trials: list[Trial] = field(default_factory=list)
    culprits: list[Trial] = field(default_factory=list)
    """Trials of single groups that failed."""
    interactions: list[Group] = field(default_factory=list)
    """Edits of parts that fail although both of their halves pass."""
    given_up: bool = False
    """Whether the search ended early because it had used all its trials."""

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values, as `gate.json` has it."""
        return {
            "probes": [{"ids": list(p.ids), "failed": list(p.failed)} for p in self.trials],
            "culprits": {i: "; ".join(p.failed) for p in self.culprits for i in p.ids},
            "interactions": [list(ids) for ids in self.interactions],
            "given_up": self.given_up,
        }


def search(
    groups: Sequence[Group],
    attempt: Callable[[Group], Sequence[str]],
    *,
    max_trials: int = MAX_TRIALS,
) -> Search:
    """Find the groups of edits that fail alone.

    groups      all groups of a batch that is known to fail, the most suspect first
    attempt     edits the base model with the edits of some ids, and returns a sentence for each
                check that the edited model fails
    max_trials  most calls of `attempt`
    """
    found = Search()

    def fails(part: Sequence[Group]) -> bool:
        ids = tuple(i for group in part for i in group)
        outcome = Trial(ids, tuple(attempt(ids)))
        found.trials.append(outcome)
        return bool(outcome.failed)

    def look(part: Sequence[Group]) -> None:
        """Search a part of the batch that is known to fail."""
        if len(part) == 1:
            found.culprits.append(next(p for p in reversed(found.trials) if p.ids == part[0]))
            return
        if len(found.trials) + 2 > max_trials:
            found.given_up = True
            return
        halves = part[: len(part) // 2], part[len(part) // 2 :]
        bad = [half for half in halves if fails(half)]
        if not bad:
            found.interactions.append(tuple(i for group in part for i in group))
        for half in bad:
            look(half)

    if len(groups) == 1 and fails(groups):
        found.culprits.append(found.trials[-1])
    elif len(groups) > 1:
        look(list(groups))
    return found
