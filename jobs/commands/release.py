"""`corrigenda rollback`: make an earlier release the one in production."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from infra.errors import ConfigError
from jobs.commands.options import JsonOption, LineOption, WorkspaceOption


def rollback(
    version: Annotated[
        str | None,
        typer.Argument(help="Release to return to; without it, the one before the present one."),
    ] = None,
    workspace: WorkspaceOption = "workspace",
    line: LineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Return production to an earlier release. Nothing is deleted, and the move is logged."""
    from infra.storage.workspace import Workspace
    from pipeline.queries.status import find_release, one_line
    from pipeline.release.alias import Alias
    from pipeline.release.output import MANIFEST, require_release

    place = Workspace.at(workspace)
    alias = Alias(place.root, one_line(place, line))
    before = alias.current()
    if (target := version) is None:
        target = find_release(place, line, None).json(MANIFEST)["parent"]
    if target is None:
        raise ConfigError(f"release {before} has no parent; there is nothing before it.")
    require_release(find_release(place, line, target), thorough=True)
    alias.move(target, f"rollback from {before}")
    if as_json:
        print(json.dumps({"from": before, "to": target}))
        return
    print(f"production: {before} -> {target} ({place.directory('release', target)})")
