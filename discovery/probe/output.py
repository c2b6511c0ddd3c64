"""What the probe stage leaves for the stages behind it: its files, and the verdicts.

verdicts.parquet     a row a change that might be asked about, in the order of the changes
calibration.json     how confidence was fitted, and how good it is
cutoff.json, .html   when what the model believes is from, by relation
unedited/            the same three of the unedited model, for facts that it was edited for
changes.parquet      the edition's changes with those taken up again
assessments.parquet  the state of each that would put something into the model, with all reasons
activity.parquet     how many subjects each user, domain and relation changed
taken_up.parquet     which held changes were taken up, and since which version they were held
dropped.parquet      what was held and is no longer, with the reason
asked.json           ids of the changes that the model was asked about
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from discovery.facts.fact import INTERVAL, Interval
from discovery.facts.tables import from_table
from infra.storage.artifact import Artifact

VERDICTS, CALIBRATION = "verdicts.parquet", "calibration.json"
CUTOFF, CUTOFF_PAGE = "cutoff.json", "cutoff.html"
UNEDITED = "unedited"
"""Folder of what the unedited model was asked, where it was."""
CHANGES, ASSESSMENTS, ACTIVITY = "changes.parquet", "assessments.parquet", "activity.parquet"
TAKEN_UP, DROPPED, ASKED = "taken_up.parquet", "dropped.parquet", "asked.json"

Judgement = Literal["knows", "stale", "unknown", "inconsistent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the model believes of one change, or why it was not asked."""

    change_id: str
    verdict: Judgement | None
    """None where the change was not probed."""
    reason: str
    confidence: float | None = None
    """Probability that the model prefers `believed` in words it was not asked in, calibrated on
    unchanged facts; where too few of those were asked, the winner's mean softmax weight."""
    p_stale: float | None = None
    """Probability that it prefers one of the old values there."""
    believed: str | None = None
    """Label of the candidate the model prefers."""
    margin: float | None = None
    """Nats between the winner and the best distractor, mean over statements."""
    abstained: int | None = None
    """Statements to which its own words are no answer."""
    as_of: Interval | None = None
    """When what it believes was so, as far as the source says: what dates the belief."""
    num_candidates: int | None = None
    """Answers that were compared."""
    prompt: str | None = None
    """First statement, as put to the model."""
    answer: str | None = None
    """The model's own answer to it."""


VERDICT_SCHEMA = pa.schema(
    [
        pa.field("change_id", pa.string(), nullable=False),
        ("verdict", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        ("confidence", pa.float64()),
        ("p_stale", pa.float64()),
        ("believed", pa.string()),
        ("margin", pa.float64()),
        ("abstained", pa.int32()),
        ("as_of", INTERVAL),
        ("num_candidates", pa.int32()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
    ]
)


TAKEN_UP_SCHEMA = pa.schema(
    [
        pa.field("change_id", pa.string(), nullable=False),
        pa.field("since", pa.string(), nullable=False),
    ]
)


def read_verdicts(probed: Artifact, name: str) -> dict[str, Verdict]:
    """Verdicts of a probe stage by change id; none where nothing was asked."""
    if not (probed.path / name).exists():
        return {}
    asked = set(probed.json(ASKED))
    found = from_table(probed.table(name), Verdict)
    return {v.change_id: v for v in found if v.change_id in asked}
