"""`corrigenda rollback`: make an earlier release the one in production."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.display import say, say_json
from infra.errors import ConfigError, StageError
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
    from pipeline.release.production import releases_of, unnamed

    place = Workspace.at(workspace)
    line = one_line(place, line)
    alias = Alias(place, line)
    if (target := version) is None:
        target = find_release(place, line, None).json(MANIFEST)["parent"]
    if target is None:
        raise ConfigError(f"release {alias.current()} has no parent; there is nothing before it.")
    release = find_release(place, line, target)
    if target not in (known := releases_of(place, line)):
        raise StageError(
            f"{target!r} is no release of line {line} in {place.root}. There are: "
            f"{', '.join(known) or 'none'}."
        )
    require_release(release, thorough=True)
    before = alias.last()
    alias.move(target, f"rollback from {before}", kept=unnamed(place, alias, but=target))
    if as_json:
        say_json({"from": before, "to": target})
        return
    say(f"production: {before} -> {target} ({place.directory('release', target)})")
