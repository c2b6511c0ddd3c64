"""`corrigenda verify`: read every file of a workspace, and say what is not whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from infra.display import Terminal, say_json
from jobs.commands.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from pipeline.queries.verify import Verified


def verify(
    version: Annotated[
        str | None, typer.Argument(help="Edition to read; without it, the whole workspace.")
    ] = None,
    workspace: WorkspaceOption = "workspace",
    as_json: JsonOption = False,
) -> None:
    """Check that every file is what was written, and say how what is not can be made whole.

    All files are read; nothing is changed. The exit code is 1 where something is not whole.
    """
    from rich.progress import Progress

    from infra.storage.workspace import Workspace
    from pipeline.queries.verify import bytes_to_read, verify_rest, verify_version, versions

    place = Workspace.at(workspace)
    wanted = [version] if version else versions(place)
    console = Terminal()
    found: list[Verified] = []
    shown = Terminal(stderr=True, quiet=as_json)
    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("reading", total=bytes_to_read(place, wanted))
        for each in wanted:
            result = verify_version(place, each, lambda size: bar.update(task, advance=size))
            found.append(result)
    if version is None:
        found.append(verify_rest(place))
    whole = not any(result.damage for result in found)
    if as_json:
        rows = [result.as_json() for result in found]
        say_json({"whole": whole, "versions": rows})
    else:
        for result in found:
            _print(result, console)
        if not wanted:
            console.print("nothing to verify")
    if not whole:
        raise typer.Exit(1)


def _print(found: Verified, console: Console) -> None:
    """A summary line of one version, and two lines for everything that is not whole."""
    from jobs.terminal.words import size

    name = found.version or "production log, bases, caches"
    state = "whole" if not found.damage else f"NOT WHOLE, {len(found.damage)} damaged or missing"
    told = f"{found.outputs} outputs, {found.files} files, {size(found.size)}: "
    lines = [f"{name}: {told if found.version else ''}{state}"]
    if found.by_content:
        lines.append(
            f"  of an earlier version, without digests of bytes (rows of Parquet files are "
            f"compared): {', '.join(found.by_content)}"
        )
    for damage in found.damage:
        lines += [f"  {damage.path} is {damage.what}", f"    {damage.remedy}"]
    for told in lines:
        console.print(told, soft_wrap=True)
