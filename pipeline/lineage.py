"""What earlier editions left behind: held changes, counts of activity, ancestors of a release."""

from __future__ import annotations

from discovery.facts.tables import from_table
from discovery.probe.intake import Earlier
from discovery.probe.output import ACTIVITY
from discovery.snapshot.output import MANIFEST
from discovery.trust.anomalies import Activity
from discovery.trust.backlog import HeldChange, read_held
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.config import Edition
from pipeline.evaluate.output import REPORT, Report
from pipeline.plan.output import HELD
from pipeline.release.alias import Alias


def ancestors(workspace: Workspace, parent: Artifact | None) -> list[tuple[str, Report]]:
    """Versions and reports of a release and those before it, oldest first."""
    found: list[tuple[str, Report]] = []
    while parent:
        found.append((parent.record["version"], parent.json(REPORT)))
        before = parent.json("manifest.json")["parent"]
        parent = workspace.find("release", before) if before else None
    return found[::-1]


def snapshot_before(workspace: Workspace, edition: Edition) -> Artifact | None:
    """The latest snapshot of an earlier day, on which the crawl builds."""
    found = (workspace.find("snapshot", version) for version in workspace.versions("snapshot"))
    earlier = [
        (made.json(MANIFEST)["as_of"], made.record["version"], made)
        for made in found
        if made is not None and made.json(MANIFEST)["as_of"] < edition.as_of.isoformat()
    ]
    return max(earlier, key=lambda known: known[:2])[2] if earlier else None


def parent_of(workspace: Workspace, alias: Alias, version: str) -> Artifact | None:
    """The release that production pointed at before this version was first released."""
    before = []
    for move in alias.history():
        if move.version == version:
            break
        before.append(move.version)
    return workspace.find("release", before[-1]) if before else None


def left_by(workspace: Workspace, parent: Artifact | None) -> Earlier:
    """What a release and those before it left behind."""
    held: list[HeldChange] = []
    if parent and (planned := workspace.find("plan", parent.record["version"])):
        held = read_held(planned.table(HELD))
    counted = []
    while parent:
        version = parent.record["version"]
        if (probed := workspace.find("probe", version)) is not None:
            counted.append(from_table(probed.table(ACTIVITY), Activity))
        before = parent.json("manifest.json")["parent"]
        parent = workspace.find("release", before) if before else None
    return Earlier(held=held, history=counted[::-1])
