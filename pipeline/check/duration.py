"""How long a run takes: by the records of an earlier edition, else by the speed of the model.

What the stages cost is taken from a run of the demo that benchmarks/README.md reports (SmolLM2-135M
on 2 cores of an Intel Xeon at 2.50 GHz without bfloat16 instructions, two workers). Its seconds are
turned into tokens by the speed of one worker on that kind of machine, so that another model and
another machine take as many tokens at a speed of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.storage.workspace import Workspace
from pipeline.check.editions import EditionCheck
from pipeline.check.source import SourceCheck
from pipeline.stages import STAGES

DEMO_TOKENS_S = 2 * 205.0
"""Tokens a second of the demo's two workers, in the batch of `pipeline.check.model`, measured in
CPU seconds on the same kind of machine (float32, one thread)."""
PROBE_TOKENS = 117.4 * DEMO_TOKENS_S / (84 + 60)
"""Tokens of a fact that is asked: the demo's second edition asked 144 in 117.4 s."""
EDIT_TOKENS = 100.9 * DEMO_TOKENS_S / 62
"""Tokens of a new edit: 62 of 18 steps in 100.9 s."""
FIT_TOKENS = (136.3 - 100.9) * DEMO_TOKENS_S
"""Tokens of the editor's statistics, which are kept: the demo's first edition, which took them,
edited 35.4 s longer."""
EVALUATE_TOKENS = 196.7 * DEMO_TOKENS_S / (62 * 3)
"""Tokens of an edit that is evaluated, for each of base, parent and candidate: 62 in 196.7 s."""
START_S = 30.0
"""Seconds for what does not depend on the facts: Ray's start, loading the model, small stages."""
MARGINS = (0.5, 1.6)
"""Factors that an estimate by speed is multiplied by to be a range."""
RECORD_MARGINS = (0.7, 1.4)
"""Likewise, of an estimate by the records of an earlier edition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationCheck:
    """An estimate of how long what is left of a run takes, in seconds."""

    low_s: float
    high_s: float
    by_stage: dict[str, float]
    """Stage -> seconds, over all editions that are not released."""
    origin: str
    """What the estimate is from: a version of the workspace, or `speed`."""
    stops: tuple[str, ...] = ()
    """Nothing: time stops no run."""


def check_duration(
    editions: Sequence[EditionCheck],
    sources: Sequence[SourceCheck],
    *,
    workspace: Workspace,
    tokens_s: float | None,
    workers: int | None,
) -> DurationCheck | None:
    """The time that the stages take which are not finished; None where it cannot be told.

    tokens_s  speed of one worker; None where it was not measured
    workers   that run at a time; None where that is not known, which counts as one
    """
    recorded = recorded_seconds(workspace)
    left = [edition for edition in editions if not edition.released]
    if recorded is not None:
        origin, seconds = recorded
        margins, each = RECORD_MARGINS, [seconds for _ in left]
    elif tokens_s:
        origin, margins = "speed", MARGINS
        speed = tokens_s * (workers or 1)
        each = [_by_speed(e, sources, speed, first=n == 0) for n, e in enumerate(left)]
    else:
        return None
    by_stage: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    for edition, stages in zip(left, each, strict=True):
        for stage, spent in stages.items():
            by_stage[stage] += 0.0 if stage in edition.finished else spent
    total = sum(by_stage.values())
    low, high = (factor * total for factor in margins)
    start = START_S if left else 0.0
    return DurationCheck(
        low_s=low + start / 2, high_s=high + start, by_stage=by_stage, origin=origin
    )


def recorded_seconds(workspace: Workspace) -> tuple[str, dict[str, float]] | None:
    """The latest released edition, and the seconds that each of its stages took; None where there
    is none."""
    for version in reversed(workspace.versions("release")):
        records = {stage: workspace.find(stage, version) for stage in STAGES}
        found = {s: made.record["duration_s"] for s, made in records.items() if made is not None}
        if len(found) == len(STAGES):
            return version, found
    return None


def _by_speed(
    edition: EditionCheck, sources: Sequence[SourceCheck], speed: float, *, first: bool
) -> dict[str, float]:
    """Stage -> seconds of an edition, at a speed in tokens a second.

    first  whether it is the first to be made, which takes the editor's statistics too
    """
    models = 3 if edition.parent else 2
    return {
        "crawl": sum(map(crawl_seconds, sources)),
        "probe": edition.max_asked * PROBE_TOKENS / speed,
        "edit": (edition.max_edits * EDIT_TOKENS + first * FIT_TOKENS) / speed,
        "evaluate": edition.max_edits * models * EVALUATE_TOKENS / speed,
    }


def crawl_seconds(source: SourceCheck) -> float:
    """Seconds that the requests of a source are apart, in all; 0 for a local source."""
    if source.manners is None or source.content is None:
        return 0.0
    return (source.content.num_requests or 0) * source.manners.min_interval_s
