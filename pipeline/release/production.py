"""Which release is in production, which one a new edition follows, and the move to a new one.

All is read from the log of the alias and from the records of the releases. Where the two do not
agree, something is lost, and nothing is built on what is left: a person says how to go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infra.errors import StageError
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.release.alias import Alias
from pipeline.release.output import MANIFEST

BASE = "base"
"""In place of a version, for `--from`: no release, but the unedited model."""


def parent_of(
    workspace: Workspace, alias: Alias, version: str, chosen: str | None = None
) -> str | None:
    """Version of the release that an edition follows; None for the first of its line.

    It is fixed once the edition is released. Before, it is the release in production.

    chosen  a release that is to be followed instead (`--from`), or `BASE` for none

    Raises StageError where the log of the alias has lost an entry, so that it is not known what is
    in production, and where `chosen` is no release of the line or not the one that was followed.
    """
    if (released := workspace.find("release", version)) is not None:
        fixed = released.json(MANIFEST)["parent"]
        if chosen is None and version not in alias.known():
            _require_named(workspace, alias, but=version)
    elif version in (moved := [move.version for move in alias.history()]):
        before = moved[: moved.index(version)]
        fixed = before[-1] if before else None
    elif chosen is None:
        _require_named(workspace, alias, but=version)
        return alias.current()
    elif chosen == BASE:
        return None
    elif chosen not in (known := releases_of(workspace, alias.line)):
        raise StageError(
            f"--from {chosen!r} is no release of line {alias.line}. Give one of "
            f"{', '.join([*known, BASE])}."
        )
    else:
        return chosen
    if chosen not in (None, fixed or BASE):
        raise StageError(
            f"--from {chosen!r}: {version} is released, and follows {fixed or BASE}. Give the "
            "edition another version."
        )
    return fixed


def unnamed(workspace: Workspace, alias: Alias, *, but: str) -> list[str]:
    """The finished releases of a line that the log of its alias does not name, but one."""
    known = {*alias.known(), but}
    return [v for v in releases_of(workspace, alias.line) if v not in known]


def _require_named(workspace: Workspace, alias: Alias, *, but: str) -> None:
    """Raises StageError where the log of an alias has lost its last entry, or does not name each
    finished release of its line but one."""
    alias.require_last()
    if strange := unnamed(workspace, alias, but=but):
        raise StageError(
            f"{alias.directory} does not name {', '.join(strange)} of line {alias.line}: its entry "
            "is lost, or a run was killed before it was written. Say what is in production with "
            "`corrigenda rollback VERSION`, restore the log from a backup, or build on a release "
            "with `corrigenda run --from VERSION`."
        )


def releases_of(workspace: Workspace, line: str) -> list[str]:
    """Versions of the finished releases of a line, sorted."""
    return [v for v in workspace.versions("release") if line_of(workspace, "release", v) == line]


def line_of(workspace: Workspace, stage: str, version: str) -> str | None:
    """The line of an output of a stage; None where neither its record nor that of its edition's
    plan has it."""
    for name in (stage, "plan"):
        try:
            found = workspace.find(name, version)
        except StageError:  # a damaged record names no line
            continue
        line = found and (found.record.get("line") or made_from(found).get("line"))
        if line:
            return line
    return None


def made_from(made: Artifact) -> Mapping[str, Any]:
    """What an output was made from, by name; empty in a record of an early version."""
    return made.record.get("made_from", {}).get("inputs", {})


def put_in_production(
    alias: Alias, version: str, *, after: str | None, reason: str, kept: Sequence[str] = ()
) -> None:
    """Move an alias to a finished release, if it still points at what it did when the edition
    began.

    after  what it pointed at then; None for nothing
    kept   further releases that the log does not name

    Raises StageError where the alias was moved meanwhile. The release is then kept beside, and the
    log says so: running the edition again does not move the alias either.
    """
    if alias.move_from(after, version, reason, kept=kept):
        return
    now = alias.last()
    why = f"{version} was finished meanwhile, and follows {after or 'the unedited model'}"
    if now is not None:
        alias.move_from(now, now, why, kept=[version, *kept])
    raise StageError(
        f"release {version} is finished and kept, but not in production: it was made to come after "
        f"{after or 'the unedited model'}, and production was moved to {now} meanwhile. "
        f"`corrigenda rollback {version}` puts it in production all the same; without it, the next "
        f"edition follows {now}."
    )
