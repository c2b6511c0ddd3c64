"""What a new edition takes from earlier ones: their releases, held changes, counts of changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from discovery.facts.records_file import RecordsFile
from discovery.facts.tables import from_table
from discovery.probe.intake import Earlier
from discovery.probe.output import ACTIVITY
from discovery.snapshot.output import MANIFEST as SNAPSHOT_MANIFEST
from discovery.snapshot.output import Snapshot
from discovery.sources import SourceConfig
from discovery.trust.anomalies import Activity
from discovery.trust.backlog import HeldChange, read_held
from editors import EDITORS
from infra.errors import StageError
from infra.lm.inference import ServedModel
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.config import RETRY
from pipeline.edit.config import EditConfig
from pipeline.evaluate.output import REPORT, Report
from pipeline.gate.capacity_history import CapacityHistory
from pipeline.plan.edits import PlannedEdit
from pipeline.plan.fact_sheet import SHEET, SheetRow, read_sheet
from pipeline.plan.lanes import Capacity, Lanes
from pipeline.plan.output import EDITS, FULL, HELD
from pipeline.release.output import MANIFEST, QUARANTINED, as_released, require_release
from pipeline.release.production import BASE, line_of, made_from, releases_of


def ancestors(workspace: Workspace, parent: Artifact | None) -> list[tuple[str, Report]]:
    """Version and evaluation report of a release and of all its ancestors, oldest first."""
    found: list[tuple[str, Report]] = []
    while parent:
        found.append((parent.record["version"], parent.json(REPORT)))
        before = parent.json(MANIFEST)["parent"]
        parent = workspace.find("release", before) if before else None
    return found[::-1]


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
    full: Sequence[PlannedEdit] = ()
    """Edits for which its weights had no room; their facts are on its fact sheet."""
    sheet: Iterable[SheetRow] = ()
    """Its fact sheet."""

    @property
    def version(self) -> str | None:
        """Its version; None before the first release."""
        return self.release.record["version"] if self.release else None

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        line: str,
        version: str | None,
        *,
        chosen: bool = False,
        thorough: bool = True,
    ) -> Parent:
        """The release of a version of a line (`parent_of`), or the empty value.

        chosen    whether a person has named it: it is then followed although changes that it held,
                  and its counts of changes, are lost
        thorough  whether its large files are read too, as before an edition builds on them

        Raises StageError where an output that is needed of it is not there, or it is damaged.
        """
        if version is None:
            return cls()
        needed = ("release", "snapshot") if chosen else ("release", "snapshot", "plan", "probe")
        for stage in needed:
            if workspace.find(stage, version) is None:
                raise StageError(_lost(workspace, line, stage, version))
        found, seen = (workspace.find(stage, version) for stage in ("release", "snapshot"))
        assert found is not None and seen is not None
        require_release(found, thorough=thorough)
        return cls(
            release=found,
            snapshot=Snapshot.of(seen),
            served=as_released(found, "parent"),
            live=from_table(found.table(EDITS), PlannedEdit),
            aside=from_table(found.table(QUARANTINED), PlannedEdit),
            full=from_table(found.table(FULL), PlannedEdit) if found.has(FULL) else (),
            sheet=RecordsFile(found, SHEET, read_sheet),
        )


def _lost(workspace: Workspace, line: str, stage: str, version: str) -> str:
    """The error message for a release to be followed of which an output is not there."""
    rest = [v for v in releases_of(workspace, line) if workspace.find("snapshot", v)]
    return (
        f"{workspace.directory(stage, version)} is not there or has no record.json, and the "
        f"edition follows release {version}. Restore it from a backup, run the config of {version} "
        "again, or choose what to build on: `corrigenda run --from VERSION` with "
        f"{', '.join([*rest, BASE])}, where {BASE} is the unedited model."
    )


def snapshot_before(
    workspace: Workspace,
    version: str,
    as_of: date,
    *,
    line: str,
    sources: Sequence[SourceConfig],
) -> Snapshot | None:
    """The snapshot that the crawl of an edition continues; None if there is none.

    It is fixed when the crawl is finished. Before, it is the latest of an earlier day, of the same
    line, or of any line that reads the same sources.

    Raises StageError where the crawl is finished and what it continued is not there any more.
    """
    made = workspace.find("crawl", version) or workspace.find("snapshot", version)
    found = [(v, workspace.find("snapshot", v)) for v in workspace.versions("snapshot")]
    if made is not None and "previous" in (given := made_from(made)):
        fixed = given["previous"]
        if fixed is None:
            return None
        same = [seen for _, seen in found if seen is not None and seen.digest == fixed]
        if not same:
            raise StageError(
                f"{made.directory} continues a snapshot that is not in {workspace.address} any "
                f"more. Restore it from a backup, or delete {made.directory} to read the sources "
                "anew."
            )
        return Snapshot.of(same[0])
    earlier = [
        (seen.json(SNAPSHOT_MANIFEST)["as_of"], v, seen)
        for v, seen in found
        if seen is not None
        and seen.json(SNAPSHOT_MANIFEST)["as_of"] < as_of.isoformat()
        and (line_of(workspace, "snapshot", v) == line or _same_sources(seen, sources))
    ]
    return Snapshot.of(max(earlier, key=lambda known: known[:2])[2]) if earlier else None


def _same_sources(seen: Artifact, sources: Sequence[SourceConfig]) -> bool:
    """Whether a snapshot was made from all the given sources, by settings that make them say the
    same."""
    recorded = {about["name"]: about for about in made_from(seen).get("sources", ())}
    return all(
        config.name in recorded and config.says_the_same(recorded[config.name])
        for config in sources
    )


def lanes_of(
    workspace: Workspace,
    version: str,
    edit: EditConfig,
    history: CapacityHistory,
    *,
    anew: bool = False,
) -> Lanes:
    """The lanes of an edition's plan, with the capacity that is known of its weights.

    The capacity is fixed when the plan is finished: what its own gate finds out is for the plan of
    the second attempt, and for later editions.

    anew  whether a finished plan may be discarded, as after a change of settings
    """
    if not EDITORS[edit.editor].changes_weights:
        return Lanes(first="beside")
    lanes = Lanes(over="sheet" if edit.over is None else "beside")
    made = workspace.find("plan", version)
    if made is not None and not anew and "lanes" in (given := made_from(made)):
        fixed = given["lanes"]["capacity"]
        return replace(lanes, capacity=Capacity(**fixed) if fixed else None)
    own = (version, f"{version}{RETRY}")
    return replace(lanes, capacity=history.capacity(before=own))


def left_by(workspace: Workspace, parent: Artifact | None) -> Earlier:
    """Held changes of a release, and the counts of changes of it and of all its ancestors.

    The counts are ordered from the oldest release to the newest.
    """
    held: Iterable[HeldChange] = ()
    if parent and (planned := workspace.find("plan", parent.record["version"])):
        held = RecordsFile(planned, HELD, read_held)
    counted = []
    while parent:
        version = parent.record["version"]
        if (probed := workspace.find("probe", version)) is not None:
            counted.append(from_table(probed.table(ACTIVITY), Activity))
        before = parent.json(MANIFEST)["parent"]
        parent = workspace.find("release", before) if before else None
    return Earlier(held=held, history=counted[::-1])
