"""The summary of an edition as one JSON value, read from its finished outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from discovery.crawl.output import OBSERVATIONS, SKIPS
from infra.lm.matching import begins_with
from infra.storage.artifact import Artifact
from pipeline.evaluate.output import FACTS, REPORT
from pipeline.gate.output import GATE, PAGE

NUM_EXAMPLES = 3
"""Most examples of corrected facts in a summary."""


def summarise(made: Mapping[str, Artifact]) -> dict[str, Any]:
    """Summarise the stages of an edition that are finished: counts, report, gate, release.

    made  stage -> its output
    """
    summary: dict[str, Any] = {
        "version": next(iter(made.values())).record["version"],
        "stages": {
            name: {
                "counts": dict(artifact.counts),
                "duration_s": artifact.record["duration_s"],
                "path": str(artifact.directory),
            }
            for name, artifact in made.items()
        },
    }
    summary["skips"] = skips(made)
    if "evaluate" in made:
        summary["report"] = made["evaluate"].json(REPORT)
        summary["examples"] = examples(made["evaluate"])
    if "gate" in made:
        summary["gate"] = made["gate"].json(GATE)
    if "release" in made:
        summary["release"] = {
            "release_id": made["release"].counts["release_id"],
            "path": str(made["release"].directory),
            "edits": made["release"].counts["edits"],
        }
    pages = [made[name] for name in ("release", "gate") if name in made and made[name].has(PAGE)]
    summary["page"] = next((str(made.file(PAGE)) for made in pages), None)
    return summary


def skips(made: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """Pieces of the sources that could not be used: source, reason, count, sample; by count."""
    stages = [made[stage] for stage in ("crawl", "snapshot") if stage in made]
    rows = [row for stage in stages for row in stage.table(SKIPS).to_pylist()]
    return sorted(rows, key=lambda row: (-row["count"], row["source"], row["reason"]))


def examples(evaluation: Artifact) -> list[dict[str, Any]]:
    """Facts that the model had wrong before the edit and has right now, at most `NUM_EXAMPLES`.

    First those that it answered with an old value, then other corrections, then new facts; among
    equals, in the order of their ids.
    """
    rows = [
        row
        for row in evaluation.table(FACTS).to_pylist()
        if row["right"] and row["new"] and not row["right_before"]
    ]
    rows.sort(
        key=lambda row: (
            begins_with(row["before_answer"], row["old"]) is None,
            not row["old"],
            row["id"],
        )
    )
    shown = ("prompt", "before_answer", "answer", "target", "old")
    return [{key: row[key] for key in shown} for row in rows[:NUM_EXAMPLES]]


def details(artifact: Artifact) -> dict[str, Any]:
    """The counts in an output's record, with some more that are read from its files.

    A crawl has `sources` too, the number of usable documents by source; a gate has `checks`, the
    number of checks by state.
    """
    stage = artifact.record["stage"]
    if stage == "crawl":
        columns = ["source", "absent"]
        table = artifact.table(OBSERVATIONS, columns=columns)
        rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
        return {**artifact.counts, "sources": Counter(name for name, absent in rows if not absent)}
    if stage == "gate":
        states = Counter(check["state"] for check in artifact.json(GATE)["checks"])
        return {**artifact.counts, "checks": {"pass": 0, **states}}
    return dict(artifact.counts)
