"""Revert risk: the probability that a revision will be reverted, by Wikimedia's Lift Wing.

`POST .../v1/models/revertrisk-wikidata:predict` with `{"rev_id": N}` answers
`{"output": {"probabilities": {"true": p, "false": 1 - p}}}`. The request changes nothing, so it is
sent again where the service fails. A revision that the service does not rate has no score, which
counts neither for nor against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from discovery.facts.change import Change
from discovery.trust.policy import RevertRiskConfig, Standing
from infra.errors import RefusedError, SourceError

MODEL = "v1/models/revertrisk-wikidata:predict"
MAX_FAILURES = 3
"""Failed requests in a row after which the service counts as down and no more are sent."""


class Poster(Protocol):
    """What this module needs of `infra.http.client.PoliteClient`."""

    def post_json(self, url: str, value: Any) -> Any:
        """Send a value as JSON and return the JSON of the answer. Raises SourceError."""
        ...


def scores(
    revisions: Iterable[int], client: Poster, config: RevertRiskConfig
) -> Mapping[int, float]:
    """By revision that the service rates, the probability that it will be reverted, 0 to 1."""
    rated: dict[int, float] = {}
    failures = 0
    for revision in revisions:
        try:
            answer = client.post_json(
                f"{config.endpoint.rstrip('/')}/{MODEL}", {"rev_id": revision}
            )
        except SourceError as error:
            if rated and isinstance(error, RefusedError):
                continue  # the service rates others: it is this revision that it cannot rate
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
    """Revisions to ask the service about, each once: those of public sources, most popular subjects
    first, at most `config.max_revisions`."""
    public = [
        c
        for c in changes
        if c.revision_new is not None and not standings.get(c.source, Standing()).own
    ]
    public.sort(key=lambda c: (-c.popularity, c.id))
    revisions = dict.fromkeys(c.revision_new for c in public if c.revision_new is not None)
    return list(revisions)[: config.max_revisions]


def _probability(answer: Any) -> float | None:
    """The probability in an answer, None where the answer has another form."""
    try:
        chance = answer["output"]["probabilities"]["true"]
    except (KeyError, TypeError, IndexError):
        return None
    if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
        return None
    return float(chance)
