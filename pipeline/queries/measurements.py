"""What finished outputs and a workspace say in metrics (`infra.telemetry.metrics`)."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from infra.errors import StageError
from infra.storage.artifact import Artifact
from infra.storage.integrity import RECORD
from infra.storage.workspace import Workspace
from infra.telemetry import metrics
from infra.telemetry.metrics import Registry
from pipeline.release.alias import Alias
from pipeline.release.output import MANIFEST
from pipeline.release.production import releases_of

NUMBERS = (
    *("reliability", "generality", "superseded", "retention", "near_agreement"),
    *("subject_agreement", "chat_reliability", "chat_generality", "perplexity"),
)
"""Numbers of an evaluation that are exported, where it has measured them."""
ASKED = ("knows", "stale", "unknown", "inconsistent")
"""Verdicts of changes about which the model was asked."""


def measure_output(registry: Registry, artifact: Artifact) -> None:
    """Set the metrics that a stage's finished output gives, from its record."""
    stage, counts = artifact.record["stage"], artifact.counts
    registry.set(metrics.STAGE_DURATION, artifact.record["duration_s"], stage)
    match stage:
        case "snapshot":
            registry.set(metrics.FACTS, counts["facts"])
        case "diff":
            registry.set_each(metrics.CHANGES, counts["kinds"])
        case "probe":
            verdicts = counts["verdicts"]
            registry.set_each(metrics.BELIEFS, verdicts)
            asked = sum(verdicts.get(verdict, 0) for verdict in ASKED)
            if asked:
                registry.set(metrics.STALE_RATIO, verdicts.get("stale", 0) / asked)
        case "plan":
            registry.set(metrics.HELD, sum(counts["held"].values()))
        case "edit":
            registry.set_each(metrics.EDITS, counts["status"])
        case "evaluate":
            registry.set_each(metrics.MEASURE, _main_numbers(counts))
        case "gate":
            registry.set(metrics.GATE_PASSED, counts["passed"])
            registry.set(metrics.GATE_FAILED_CHECKS, len(counts["failed"]))


def measure_disk(registry: Registry, workspace: Workspace) -> None:
    """Set the metrics of the room on the workspace's disk."""
    with suppress(OSError):  # the workspace is not there yet
        disk = shutil.disk_usage(workspace.root)
        registry.set(metrics.DISK_FREE, disk.free)
        registry.set(metrics.DISK_SIZE, disk.total)


def measure_releases(registry: Registry, workspace: Workspace, line: str) -> None:
    """Set the metrics of a line's releases. What is damaged or not there gives none."""
    with suppress(StageError, OSError):
        finished = [
            (workspace.directory("release", version) / RECORD).stat().st_mtime
            for version in releases_of(workspace, line)
        ]
        if finished:
            registry.set(metrics.RELEASED, max(finished))
    with suppress(StageError, OSError):
        version = Alias(workspace, line).current()
        release = version and workspace.find("release", version)
        if release:
            day = datetime.fromisoformat(release.json(MANIFEST)["as_of"]).replace(tzinfo=UTC)
            registry.set(metrics.FRESH_AS_OF, day.timestamp())


def _main_numbers(counts: Any) -> dict[str, float]:
    """The exported numbers among the counts of an evaluation."""
    return {name: counts[name] for name in NUMBERS if counts.get(name) is not None}
