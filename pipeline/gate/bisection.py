"""Which edits of a failing batch make it fail? Halves, solved and probed again by themselves.

Edits of one subject are never parted. A half that passes is cleared; of one that fails, its own
halves are tried; an edit that fails alone is a culprit. Where both halves pass and the whole fails,
it is their number or their interaction: nobody is to blame, and the record says so. About
2 b log2(n/b) probes find b culprits among n (Hwang 1972).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_TRIALS = 64
"""Each solves and evaluates part of the batch: what a search may cost."""
Group = tuple[str, ...]
"""Ids of edits that stay together."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one part of the batch came to."""

    ids: Group
    failed: tuple[str, ...]
    """Sentences of the checks that failed; none for a part that passes."""


@dataclass
class Search:
    """The record of a search: every probe in its order, and what came of it."""

    trials: list[Trial] = field(default_factory=list)
    culprits: list[Trial] = field(default_factory=list)
    interactions: list[Group] = field(default_factory=list)
    """Parts that fail although both their halves pass."""
    given_up: bool = False
    """Whether the budget of probes ended before the search."""

    def as_json(self) -> dict[str, Any]:
        """All that was tried."""
        return {
            "probes": [{"ids": list(p.ids), "failed": list(p.failed)} for p in self.trials],
            "culprits": {i: "; ".join(p.failed) for p in self.culprits for i in p.ids},
            "interactions": [list(ids) for ids in self.interactions],
            "given_up": self.given_up,
        }


def search(
    groups: Sequence[Group],
    probe: Callable[[Group], Sequence[str]],
    *,
    max_trials: int = MAX_TRIALS,
) -> Search:
    """Find the groups that fail by themselves.

    `groups` are in order of suspicion, the most suspect first; the whole is known to fail. `probe`
    solves some ids from the base and returns the sentences of the checks that fail on them.
    """
    found = Search()

    def fails(part: Sequence[Group]) -> bool:
        ids = tuple(i for group in part for i in group)
        outcome = Trial(ids, tuple(probe(ids)))
        found.trials.append(outcome)
        return bool(outcome.failed)

    def look(part: Sequence[Group]) -> None:
        """Search a part that is known to fail."""
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
