"""Which files of a workspace are whole: every output by its record, and what no record covers.

Outputs are read file by file. The log of production, the ledger, the note of the bases and the
caches hold digests of their own or can be computed anew from the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from infra.errors import ConfigError, CorrigendaError, StageError
from infra.files.notes import read_note
from infra.files.tensors import is_whole
from infra.http.limits.robots import damaged_rules
from infra.http.response import ResponseCache
from infra.storage.artifact import Artifact
from infra.storage.integrity import BYTES, RECORD, Fault, extra_files, faults
from infra.storage.workspace import Workspace
from pipeline.bases import known_bases
from pipeline.edit.output import REPORTS
from pipeline.gate.capacity_history import FOLDER
from pipeline.plan.output import Plan
from pipeline.queries.status import lines
from pipeline.release import ledger
from pipeline.release.alias import Alias
from pipeline.release.output import MANIFEST, wrong_manifest
from pipeline.run import attempts_at, edition_of, plan_of
from pipeline.stages import STAGES

Tell = Callable[[int], object]
"""Called with the size in bytes of each file that has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something that is not whole."""

    path: str
    """The file or directory."""
    what: str
    """What is wrong with it: missing, empty, cut, altered, extra, unreadable."""
    remedy: str
    """What makes it whole again."""


@dataclass(slots=True, kw_only=True)
class Verified:
    """What is known of one version, or of what belongs to none."""

    version: str | None
    """The edition; None for aliases, the note of the bases and the caches."""
    outputs: int = 0
    """Number of its outputs."""
    files: int = 0
    """Number of their files."""
    size: int = 0
    """Bytes in them."""
    by_content: list[str] = field(default_factory=list)
    """Outputs of earlier versions of Corrigenda, whose records have no digests of bytes: Parquet
    files are compared by their rows."""
    damage: list[Damage] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The values as JSON."""
        return {**asdict(self), "whole": not self.damage}


def versions(workspace: Workspace) -> list[str]:
    """Editions that have an output, or a directory of one, sorted."""
    return sorted({edition_of(path.name) for s in STAGES for path in _outputs(workspace, s)})


def bytes_to_read(workspace: Workspace, wanted: list[str]) -> int:
    """Bytes in the outputs of some editions."""
    places = [p for s in STAGES for p in _outputs(workspace, s) if edition_of(p.name) in wanted]
    return sum(f.stat().st_size for p in places for f in p.rglob("*") if f.is_file())


def verify_version(workspace: Workspace, version: str, tell: Tell) -> Verified:
    """Read every file of every output of an edition, and its file of the ledger.

    Raises ConfigError where the workspace has nothing of this version.
    """
    found = Verified(version=version)
    for stage in STAGES:
        for path in _outputs(workspace, stage):
            if edition_of(path.name) == version:
                _verify_output(workspace, stage, path, found, tell)
    if not found.outputs:
        known = ", ".join(versions(workspace)) or "none"
        raise ConfigError(f"no version {version!r} in {workspace.address}. There are: {known}.")
    found.damage += [*_missing(workspace, version), *_of_ledger(workspace, version)]
    return found


def verify_rest(workspace: Workspace) -> Verified:
    """Look at what belongs to no version: logs of production, the note of the bases, caches."""
    damage = [*_of_aliases(workspace), *_of_bases(workspace), *_of_caches(workspace.root / "cache")]
    return Verified(version=None, damage=damage)


def _outputs(workspace: Workspace, stage: str) -> list[Path]:
    """Directories of a stage's outputs, without those of unfinished ones."""
    found = (workspace.root / stage).glob("*")
    return sorted(
        p for p in found if p.is_dir() and p.suffix != ".partial" and not p.name.startswith(".")
    )


def _verify_output(
    workspace: Workspace, stage: str, path: Path, found: Verified, tell: Tell
) -> None:
    """Add what is known of one output to `found`."""
    found.outputs += 1
    remedy = _remedy(workspace, stage, path)
    try:
        made = workspace.find(stage, path.name)
        if made is None:
            fault = Fault(path / RECORD, "missing")
            found.damage.append(Damage(path=str(fault.path), what=fault.what, remedy=remedy))
            return
        path = made.path
    except StageError as error:
        what = f"damaged ({str(error).split('. ')[0]})"
        found.damage.append(Damage(path=str(path / RECORD), what=what, remedy=remedy))
        return
    if BYTES not in made.record:
        found.by_content.append(f"{stage}/{path.name}")
    read = _Counted(tell)
    wrong = list(faults(path, made.record, up_to=None, tell=read))
    found.files += len(made.record["files"])
    found.size += read.size
    found.damage += [Damage(path=str(f.path), what=f.what, remedy=remedy) for f in wrong]
    for extra in extra_files(path, made.record):
        advice = "Take it out of the directory."
        found.damage.append(Damage(path=str(extra.path), what=extra.what, remedy=advice))
    if stage == "release" and not wrong and (said := wrong_manifest(made)):
        what = said.removeprefix(f"{path / MANIFEST} ")
        found.damage.append(Damage(path=str(path / MANIFEST), what=what, remedy=remedy))


class _Counted:
    """Passes on the sizes of files that have been read, and adds them up."""

    def __init__(self, tell: Tell) -> None:
        self.tell, self.size = tell, 0

    def __call__(self, size: int) -> None:
        self.size += size
        self.tell(size)


def _missing(workspace: Workspace, version: str) -> Iterator[Damage]:
    """Stages of a released edition that have no output."""
    released = workspace.directory("release", version).is_dir()
    for stage in STAGES if released else ():
        path = workspace.directory(stage, version)
        if not path.is_dir():
            remedy = "Restore it from a backup, or run its config again."
            yield Damage(path=str(path), what="missing", remedy=remedy)


def _remedy(workspace: Workspace, stage: str, path: Path) -> str:
    """What makes a damaged output whole again."""
    if not workspace.directory("release", edition_of(path.name)).exists():
        return "The next `corrigenda run` of its config makes it anew."
    again = f"move {path} away and run its config again, which makes it anew"
    if stage == "crawl":
        again += " of what its sources say now"
    return f"Restore it from a backup, or {again}."


def _of_ledger(workspace: Workspace, version: str) -> Iterator[Damage]:
    """Whether a released edition's file of the ledger tells what its outputs say."""
    path = workspace.root / ledger.LEDGER / f"{version}.parquet"
    remedy = "`corrigenda run` of the edition's config writes it anew."
    try:
        if workspace.find("release", version) is None:
            return
        if not path.exists():
            yield Damage(path=str(path), what="missing", remedy=remedy)
            return
        wanted = _events(workspace, version)
    except CorrigendaError:
        return  # it can be compared once the outputs are whole
    try:
        same = wanted is None or ledger.read_file(path).to_pylist() == wanted
    except StageError:
        yield Damage(path=str(path), what="unreadable", remedy=remedy)
        return
    if not same:
        yield Damage(path=str(path), what="altered: its outputs say otherwise", remedy=remedy)


def _events(workspace: Workspace, version: str) -> list[dict[str, Any]] | None:
    """The rows of the ledger that the outputs of an edition give; None where one is not there."""
    names = attempts_at(workspace, version)
    planned, edited = plan_of(workspace, version), workspace.find("edit", names[-1])
    gated = workspace.find("gate", version)
    if planned is None or edited is None or gated is None:
        return None
    plan = Plan.read(planned)
    aside = {**_refused(edited), **(gated.counts["culprits"] if len(names) > 1 else {})}
    return ledger.rows(version, planned.counts["plan_hash"], plan, aside).to_pylist()


def _refused(edited: Artifact) -> dict[str, str]:
    """Edit id -> reason, of the edits that the editor refused."""
    reports = edited.table(REPORTS).to_pylist()
    return {r["id"]: r["reason"] for r in reports if r["status"] == "quarantined"}


def _of_aliases(workspace: Workspace) -> Iterator[Damage]:
    """Logs of production that cannot be read, releases they name that are not there, and releases
    that they do not name."""
    logged: set[str] = set()
    for line in lines(workspace):
        alias = Alias(workspace, line)
        try:
            named = [v for move in alias.history() for v in (move.version, *move.kept)]
            alias.require_last()
        except StageError as error:
            what, _, remedy = str(error).partition(". ")
            yield Damage(path=str(alias.directory), what=f"damaged: {what}", remedy=remedy)
            continue
        logged |= set(named)
        for version in sorted(set(named)):
            place = workspace.directory("release", version)
            if not place.is_dir():
                yield Damage(
                    path=str(place),
                    what=f"missing: the log of {line} names it",
                    remedy="Restore it from a backup, or run its config again.",
                )
    for version, manifest in _manifests(workspace):
        if version not in logged:
            alias = Alias(workspace, manifest["line"])
            what = f"without an entry of release {version}: it was interrupted, or the log is cut"
            advice = f"Restore the log from a backup, or `corrigenda rollback {version}`."
            yield Damage(path=str(alias.directory), what=what, remedy=advice)


def _manifests(workspace: Workspace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Version and manifest of each release that can be read."""
    for version in workspace.versions("release"):
        try:
            made = workspace.find("release", version)
            manifest = made.json(MANIFEST) if made else None
        except StageError:
            continue
        if manifest is not None:
            yield version, manifest


def _of_bases(workspace: Workspace) -> Iterator[Damage]:
    """Whether it is known where the base of every release is."""
    path, remedy = workspace.root / "bases.json", "Run the config again: it is written anew."
    try:
        known = known_bases(workspace.root)
    except ConfigError:
        yield Damage(path=str(path), what="unreadable", remedy=remedy)
        return
    for version, manifest in _manifests(workspace):
        base = manifest["base"]
        place = known.get(base["digest"]) or base["name"]
        if place is None or (place.startswith("/") and not Path(place).is_dir()):
            what = f"without a place of the base of release {version}"
            yield Damage(path=str(path), what=what, remedy=remedy)


def _of_caches(cache: Path) -> Iterator[Damage]:
    """Files of the caches that would be dropped when they are read."""
    damaged = [
        *(
            path
            for name in ("preflight", "http", FOLDER)
            for path in sorted((cache / name).glob("[!.]*.json"))
            if read_note(path) is None
        ),
        *ResponseCache(cache / "http").damaged(),
        *damaged_rules(cache / "http"),
        *(
            path
            for name in ("statistics", "values")
            for path in sorted((cache / name).glob("[!.]*.safetensors"))
            if not is_whole(path)
        ),
    ]
    for path in damaged:
        remedy = "Nothing is to be done: it is dropped and made again when it is needed."
        yield Damage(path=str(path), what="cut or altered", remedy=remedy)
