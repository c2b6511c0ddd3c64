"""What a new edition takes from earlier ones: their releases, held changes, counts of changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from discovery.facts.tables import from_table
from discovery.probe.intake import Earlier
from discovery.probe.output import ACTIVITY
from discovery.snapshot.output import MANIFEST, Snapshot
from discovery.trust.anomalies import Activity
from discovery.trust.backlog import HeldChange, read_held
from infra.lm.inference import ServedModel
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.evaluate.output import REPORT, Report
from pipeline.plan.edits import PlannedEdit
from pipeline.plan.fact_sheet import SHEET, SheetRow
from pipeline.plan.output import EDITS, HELD
from pipeline.release.alias import Alias
from pipeline.release.output import QUARANTINED, as_released, require_release


def ancestors(workspace: Workspace, parent: Artifact | None) -> list[tuple[str, Report]]:
    """Version and evaluation report of a release and of all its ancestors, oldest first."""
    found: list[tuple[str, Report]] = []
    while parent:
        found.append((parent.record["version"], parent.json(REPORT)))
        before = parent.json("manifest.json")["parent"]
        parent = workspace.find("release", before) if before else None
    return found[::-1]


def snapshot_before(workspace: Workspace, as_of: date) -> Snapshot | None:
    """The latest snapshot of an earlier day, which the crawl continues; None if there is none."""
    found = (workspace.find("snapshot", version) for version in workspace.versions("snapshot"))
    earlier = [
        (made.json(MANIFEST)["as_of"], made.record["version"], made)
        for made in found
        if made is not None and made.json(MANIFEST)["as_of"] < as_of.isoformat()
    ]
    return Snapshot.of(max(earlier, key=lambda known: known[:2])[2]) if earlier else None


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The release that a new one follows, with its content; all empty before the first release."""

    release: Artifact | None = None
    snapshot: Snapshot | None = None
    """The snapshot that it was made from."""
    served: ServedModel | None = None
    """Its model, as it is served."""
    live: Sequence[PlannedEdit] = ()
    """The edits that its model holds."""
    aside: Sequence[PlannedEdit] = ()
    """Edits that its editor refused or its gate's search set aside."""
    sheet: Sequence[SheetRow] = ()
    """Its fact sheet."""

    @property
    def version(self) -> str | None:
        """Its version; None before the first release."""
        return self.release.record["version"] if self.release else None

    @classmethod
    def of(cls, workspace: Workspace, alias: Alias, version: str) -> Parent:
        """The release that production pointed at before this version was first released.

        Raises StageError where it is damaged. Its large files are read where this version is yet to
        be released.
        """
        before = []
        for move in alias.history():
            if move.version == version:
                break
            before.append(move.version)
        found = workspace.find("release", before[-1]) if before else None
        if found is None:
            return cls()
        builds = workspace.find("release", version) is None
        require_release(found, thorough=builds)
        seen = workspace.find("snapshot", found.record["version"])
        return cls(
            release=found,
            snapshot=Snapshot.of(seen) if seen else None,
            served=as_released(found, "parent"),
            live=from_table(found.table(EDITS), PlannedEdit),
            aside=from_table(found.table(QUARANTINED), PlannedEdit),
            sheet=from_table(found.table(SHEET), SheetRow),
        )


def left_by(workspace: Workspace, parent: Artifact | None) -> Earlier:
    """Held changes of a release, and the counts of changes of it and of all its ancestors.

    The counts are ordered from the oldest release to the newest.
    """
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
