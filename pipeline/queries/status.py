"""The state of a workspace, read from its files: its releases, and how far each edition is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.errors import ConfigError, StageError
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import read_progress
from infra.storage.workspace import Workspace
from pipeline.release.alias import Alias
from pipeline.release.production import line_of, releases_of
from pipeline.run import ATTEMPTED, attempts_at, edition_of
from pipeline.stages import STAGES


def lines(workspace: Workspace) -> list[str]:
    """Names of model lines that have an alias or a release, sorted."""
    found = {path.name for path in (workspace.root / "aliases").glob("*") if path.is_dir()}
    made = (line_of(workspace, "release", version) for version in workspace.versions("release"))
    return sorted(found.union(filter(None, made)))


def one_line(workspace: Workspace, line: str | None) -> str:
    """The model line `line`, or the only one if it is None.

    Raises ConfigError if there is no release yet, no such line, or more than one to choose from.
    """
    known = lines(workspace)
    if not known:
        raise ConfigError(
            f"workspace {workspace.root} has no release yet. Run `corrigenda run --config FILE`, "
            "or give another --workspace."
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
    version = version or Alias(workspace.root, line).current()
    if version is None:
        raise StageError(
            f"no log in {workspace.root / 'aliases'} says which release of {line} is in "
            "production: restore it from a backup, or say it with `corrigenda rollback VERSION`. "
            f"There are: {', '.join(releases_of(workspace, line)) or 'none'}."
        )
    found = workspace.find("release", version)
    if found is None:
        known = ", ".join(workspace.versions("release")) or "none"
        raise StageError(f"no release {version!r} in {workspace.root}. There are: {known}.")
    return found


def releases(workspace: Workspace) -> list[dict[str, Any]]:
    """Every release as JSON values: version, id, number of edits, main metrics, paths of its files,
    and whether it is in production."""
    current = {line: Alias(workspace.root, line).current() for line in lines(workspace)}
    rows = []
    for version in workspace.versions("release"):
        artifact = workspace.find("release", version)
        assert artifact is not None
        manifest = artifact.json("manifest.json")
        evaluation = manifest["evaluation"]
        rows.append(
            {
                "version": version,
                "line": manifest["line"],
                "parent": manifest["parent"],
                "as_of": manifest["as_of"],
                "release_id": manifest["release_id"],
                "edits": len(manifest["batches"][0]["edits"]),
                "reliability": evaluation.get("reliability"),
                "perplexity": evaluation.get("perplexity"),
                "production": current.get(manifest["line"]) == version,
                "path": str(artifact.path),
                "page": str(artifact.path / manifest["page"]["file"]),
            }
        )
    return rows


def status(workspace: Workspace) -> dict[str, Any]:
    """The workspace as JSON values: state of each stage of each edition, and each line's release.

    A state is `done`, `failed` (a gate), `begun`, tasks done of all tasks as `3/8`, or `-` for a
    stage that was not begun.
    """
    versions = sorted({edition_of(v) for stage in STAGES for v in _names(workspace.root / stage)})
    return {
        "workspace": str(workspace.root),
        "production": {line: Alias(workspace.root, line).current() for line in lines(workspace)},
        "versions": {v: {stage: _state(workspace, stage, v) for stage in STAGES} for v in versions},
    }


def _names(directory: Path) -> set[str]:
    found = directory.iterdir() if directory.is_dir() else ()
    return {path.name.removesuffix(".partial") for path in found if path.is_dir()}


def _state(workspace: Workspace, stage: str, edition: str) -> str:
    """State of a stage of an edition; of edit, evaluate and gate, that of the last attempt."""
    version = attempts_at(workspace, edition)[-1] if stage in ATTEMPTED else edition
    artifact = workspace.find(stage, version)
    if artifact is not None:
        if stage == "gate" and not artifact.counts["passed"]:
            return "failed"
        return "done"
    partial = workspace.directory(stage, f"{version}.partial")
    if not partial.is_dir():
        return "-"
    progress = read_progress(partial / "progress.json")
    return f"{progress['done']}/{progress['total']}" if progress else "begun"
