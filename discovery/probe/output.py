"""What later stages know of the probe's output: its files, and a reader of the verdicts.

verdicts.parquet     one row for each change that might be asked about, in the order of the changes
calibration.json     the fit of confidence, and how good it is
cutoff.json, .html   the effective cut-off of the model's beliefs, by relation
unedited/            the same files for the unedited model, about facts with a live edit
changes.parquet      the diff's changes and the held changes that were taken up again
assessments.parquet  the state of each change that would teach the model something, with reasons
activity.parquet     how many subjects each user, domain and relation changed
taken_up.parquet     the held changes that were taken up again, and the version that first held them
dropped.parquet      the held changes that are no longer held, with the reason
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
"""Folder of the unedited model's verdicts; absent where it was not asked."""
CHANGES, ASSESSMENTS, ACTIVITY = "changes.parquet", "assessments.parquet", "activity.parquet"
TAKEN_UP, DROPPED, ASKED = "taken_up.parquet", "dropped.parquet", "asked.json"

Judgement = Literal["knows", "stale", "unknown", "inconsistent"]
"""What a model believes about a change:

    knows         the new value
    stale         an old value
    unknown       neither, or it prefers none clearly
    inconsistent  its answers contradict each other, or its likelihoods contradict its answers
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the model believes about one change, or why it was not asked."""

    change_id: str
    """Id of the change."""
    verdict: Judgement | None
    """None where the model was not asked."""
    reason: str
    """One sentence that says why, for a person."""
    confidence: float | None = None
    """Probability that the model prefers `believed` in other wordings too, calibrated on unchanged
    facts. Where too few unchanged facts were asked about, the winner's mean softmax weight."""
    p_stale: float | None = None
    """Probability that the model prefers one of the old values in other wordings."""
    believed: str | None = None
    """Label of the candidate that the model prefers."""
    margin: float | None = None
    """Nats between the winner and the best distractor, mean over statements."""
    abstained: int | None = None
    """Number of statements to which the model's greedy answer names nothing."""
    as_of: Interval | None = None
    """When the believed value was true according to the source, which dates the belief; None where
    the source gives no date."""
    num_candidates: int | None = None
    """Number of answers that were compared."""
    prompt: str | None = None
    """The first statement, as the model was asked to continue it."""
    answer: str | None = None
    """The model's greedy answer to `prompt`."""


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
"""Columns of a table of verdicts."""


TAKEN_UP_SCHEMA = pa.schema(
    [
        pa.field("change_id", pa.string(), nullable=False),
        pa.field("since", pa.string(), nullable=False),
    ]
)
"""Change ids, and the version of the edition that first held each."""


def read_verdicts(probed: Artifact, name: str) -> dict[str, Verdict]:
    """Change id -> verdict, for the changes that the model was asked about.

    probed  output of the probe stage
    name    file of the verdicts, below that output; where it has none the result is empty
    """
    if not probed.has(name):
        return {}
    asked = set(probed.json(ASKED))
    found = from_table(probed.table(name), Verdict)
    return {v.change_id: v for v in found if v.change_id in asked}
