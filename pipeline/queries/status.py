"""The state of a workspace, read from its files: its releases, and how far each edition is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.errors import ConfigError, StageError
from infra.storage.artifact import Artifact
from infra.storage.names import PARTIAL, check_name, is_name, is_path_part
from infra.storage.stage_dir import PROGRESS, WAITS, read_progress
from infra.storage.workspace import Workspace
from infra.telemetry.waits import read_waits
from pipeline.release.alias import Alias
from pipeline.release.output import MANIFEST, wrong_manifest
from pipeline.release.production import line_of, releases_of
from pipeline.run import ATTEMPTED, attempts_at, edition_of
from pipeline.stages import STAGES

LISTED_BYTES = 1 << 26
"""Size of a file up to which its content is checked when releases are listed."""
ROW = (
    *("version", "line", "parent", "as_of", "release_id", "edits", "reliability", "perplexity"),
    *("production", "path", "page", "damage"),
)
"""Keys of what a list of releases says of one."""


def lines(workspace: Workspace) -> list[str]:
    """Names of model lines that have an alias or a release, sorted."""
    found = {path.name for path in (workspace.root / "aliases").glob("*") if path.is_dir()}
    made = (line_of(workspace, "release", version) for version in workspace.versions("release"))
    return sorted(filter(is_name, found.union(filter(None, made))))


def one_line(workspace: Workspace, line: str | None) -> str:
    """The model line `line`, or the only one if it is None.

    Raises ConfigError if there is no release yet, no such line, or more than one to choose from.
    """
    known = lines(workspace)
    if not known:
        raise ConfigError(
            f"workspace {workspace.address} has no release yet. Run `corrigenda run --config "
            "FILE`, or give another --workspace."
        )
    if line is None and len(known) == 1:
        return known[0]
    if line not in known:
        raise ConfigError(f"line={line!r}: choose one with --line: {', '.join(known)}.")
    return line


def find_release(workspace: Workspace, line: str | None, version: str | None) -> Artifact:
    """The release of a version, or the one in production if `version` is None.

    Raises StageError if there is no such release, ConfigError as `one_line` does.
    """
    line = one_line(workspace, line)
    if version is None:
        version = Alias(workspace, line).current()
    else:
        check_name(version, "release")
    known = workspace.versions("release")  # by their names, letter by letter, on every file system
    if version is None:
        raise StageError(
            f"no log in {workspace.root / 'aliases'} says which release of {line} is in "
            "production: restore it from a backup, or say it with `corrigenda rollback VERSION`. "
            f"There are: {', '.join(releases_of(workspace, line)) or 'none'}."
        )
    found = workspace.find("release", version) if version in known else None
    if found is None:
        known = ", ".join(known) or "none"
        raise StageError(f"no release {version!r} in {workspace.address}. There are: {known}.")
    return found


def releases(workspace: Workspace) -> list[dict[str, Any]]:
    """Every release as JSON values: version, id, number of edits, main metrics, paths of its files,
    whether it is in production, and what is damaged of it (`ROW`).

    Contents of files up to `LISTED_BYTES` are checked, and sizes of the others.
    """
    current, _ = in_production(workspace)
    return [_release_row(workspace, version, current) for version in workspace.versions("release")]


def in_production(workspace: Workspace) -> tuple[dict[str, str | None], list[str]]:
    """Line -> version in production, and a sentence for each line whose log is damaged."""
    current: dict[str, str | None] = {}
    damage = []
    for line in lines(workspace):
        try:
            current[line] = Alias(workspace, line).current()
        except StageError as error:
            current[line] = None
            damage.append(str(error))
    return current, damage


def _release_row(
    workspace: Workspace, version: str, current: Mapping[str, str | None]
) -> dict[str, Any]:
    """One row of `releases`; without its values where they cannot be read."""
    row: dict[str, Any] = dict.fromkeys(ROW)
    row |= {"version": version, "path": str(workspace.directory("release", version))}
    row["production"] = version in current.values()
    try:
        artifact = workspace.find("release", version)
        assert artifact is not None
        manifest = artifact.json(MANIFEST)
        evaluation = manifest["evaluation"]
        row |= {
            "line": manifest["line"],
            "parent": manifest["parent"],
            "as_of": manifest["as_of"],
            "release_id": manifest["release_id"],
            "edits": len(manifest["batches"][0]["edits"]),
            "reliability": evaluation.get("reliability"),
            "perplexity": evaluation.get("perplexity"),
            "production": current.get(manifest["line"]) == version,
            "page": str(artifact.holding(page := manifest["page"]["file"]) / page),
        }
        fault = next(artifact.faults(up_to=LISTED_BYTES), None)
        row["damage"] = str(fault) if fault else wrong_manifest(artifact)
    except StageError as error:
        row["damage"] = str(error)
    return row


def status(workspace: Workspace) -> dict[str, Any]:
    """The workspace as JSON values: state of each stage of each edition, and each line's release.

    A state is `done`, `failed` (a gate), `begun`, tasks done of all tasks as `3/8`, or `-` for a
    stage that was not begun; `damaged` where a file is missing, or not of its size. `unfinished`
    says of each stage that has begun how far it is, and `damage` has a sentence for each log of
    production that cannot be read.
    """
    current, damage = in_production(workspace)
    versions = sorted({edition_of(v) for stage in STAGES for v in _names(workspace.root / stage)})
    return {
        "workspace": workspace.address,
        "production": current,
        "damage": damage,
        "versions": {v: {stage: _state(workspace, stage, v) for stage in STAGES} for v in versions},
        "unfinished": [
            how_far
            for version in versions
            for stage in STAGES
            if (how_far := _how_far(workspace, stage, version))
        ],
    }


def _how_far(workspace: Workspace, stage: str, edition: str) -> dict[str, Any] | None:
    """How far a stage of an edition is that has begun and tells its progress; None otherwise.

    `done`, `waiting`: tasks of the phase; `text`: phase and figures; `told_s`: seconds since this
    was told, by the clock of this machine; `waits`: what its workers wait for.
    """
    version = attempts_at(workspace, edition)[-1] if stage in ATTEMPTED else edition
    directory = workspace.partial(stage, version)
    state, now_s = read_progress(directory / PROGRESS), time.time()
    if state is None:
        return None
    with suppress(FileNotFoundError):  # the stage has just ended
        return {
            "version": version,
            "stage": stage,
            "done": state["done"],
            "waiting": state["total"] - state["done"],
            "text": state["text"],
            "told_s": round(max(0.0, now_s - (directory / PROGRESS).stat().st_mtime), 1),
            "waits": [wait.what for wait in read_waits(directory / WAITS, now_s)],
        }
    return None


def _names(directory: Path) -> set[str]:
    found = directory.iterdir() if directory.is_dir() else ()
    names = (path.name.removesuffix(PARTIAL) for path in found if path.is_dir())
    return set(filter(is_path_part, names))


def _state(workspace: Workspace, stage: str, edition: str) -> str:
    """State of a stage of an edition; of edit, evaluate and gate, that of the last attempt."""
    try:
        return _found_state(workspace, stage, edition)
    except StageError:
        return "damaged"


def _found_state(workspace: Workspace, stage: str, edition: str) -> str:
    """`_state`. Raises StageError where a record is damaged."""
    version = attempts_at(workspace, edition)[-1] if stage in ATTEMPTED else edition
    artifact = workspace.find(stage, version)
    if artifact is not None:
        if any(artifact.faults(up_to=0)):
            return "damaged"
        if stage == "gate" and not artifact.counts["passed"]:
            return "failed"
        return "done"
    partial = workspace.partial(stage, version)
    if not partial.is_dir():
        return "-"
    progress = read_progress(partial / PROGRESS)
    return f"{progress['done']}/{progress['total']}" if progress else "begun"
