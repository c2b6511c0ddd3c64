"""Lift Wing's rating of revisions: how likely each is to be reverted.

`POST .../v1/models/revertrisk-wikidata:predict` with `{"rev_id": N}` answers
`{"output": {"probabilities": {"true": p, "false": 1 - p}}}`. A revision that could not be rated is
missing from the answer, and nothing follows from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from discovery.facts.change import Change
from discovery.trust.policy import RevertRiskConfig, Standing
from infra.errors import SourceError

MODEL = "v1/models/revertrisk-wikidata:predict"
MAX_FAILURES = 3
"""Failures one after the other, after which the service counts as down and is left alone."""


class Poster(Protocol):
    """What is needed of `infra.http.client.PoliteClient`."""

    def post_json(self, url: str, value: Any) -> Any:
        """Raises SourceError."""
        ...


def scores(
    revisions: Iterable[int], client: Poster, config: RevertRiskConfig
) -> Mapping[int, float]:
    """Probability that each revision is reverted, of those that the service rates."""
    rated: dict[int, float] = {}
    failures = 0
    for revision in revisions:
        try:
            answer = client.post_json(
                f"{config.endpoint.rstrip('/')}/{MODEL}", {"rev_id": revision}
            )
        except SourceError:
            failures += 1
            if failures == MAX_FAILURES:
                break
            continue
        failures = 0
        if (chance := _probability(answer)) is not None:
            rated[revision] = chance
    return rated


def to_rate(
    changes: Sequence[Change], standings: Mapping[str, Standing], config: RevertRiskConfig
) -> list[int]:
    """Revisions to ask about: of public sources, the most popular subjects first, each once."""
    public = [
        c
        for c in changes
        if c.revision_new is not None and not standings.get(c.source, Standing()).own
    ]
    public.sort(key=lambda c: (-c.popularity, c.id))
    revisions = dict.fromkeys(c.revision_new for c in public if c.revision_new is not None)
    return list(revisions)[: config.max_revisions]


def _probability(answer: Any) -> float | None:
    """The probability in an answer, None where it is not of the form that is expected."""
    try:
        chance = answer["output"]["probabilities"]["true"]
    except (KeyError, TypeError, IndexError):
        return None
    if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
        return None
    return float(chance)
