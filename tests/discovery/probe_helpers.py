"""Beliefs made of log-likelihoods and words, for the tests of the probe."""

from __future__ import annotations

from collections.abc import Sequence

from discovery_helpers import make_change as change

from discovery.facts.change import Change
from discovery.probe.beliefs.belief import Belief, judge
from infra.lm.question import Answer

NEW, OLD, OTHER = "New Club", "Old Club", "Third Club"


def belief(
    scores: Sequence[Sequence[float]],
    said: Sequence[str],
    names: Sequence[str] = (NEW, OLD, OTHER),
    about: Change | None = None,
    priors: Sequence[float] | None = None,
    margin: float = 1.0,
) -> Belief:
    """What log-likelihoods of the names in three statements, and words, amount to."""
    asked = [
        Answer(id="", logprobs=tuple(row), num_tokens=(1,) * len(row), greedy=text)
        for row, text in zip(scores, said, strict=True)
    ]
    return judge(
        about or change(),
        names,
        asked,
        [priors or [0.0] * len(names)] * len(asked),
        margin=margin,
        agreement=2 / 3,
    )


NEW_WINS, OLD_WINS, OTHER_WINS = (-1.0, -5.0, -6.0), (-5.0, -1.0, -6.0), (-5.0, -6.0, -1.0)
"""Log-likelihoods of (new, old, distractor) in which one of them wins."""
