"""`corrigenda status`, `releases` and `why`: print what a workspace holds; nothing is changed."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from infra.display import Terminal, say_json
from jobs.commands.options import JsonOption, WorkspaceOption


def status(
    workspace: WorkspaceOption = "workspace",
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on showing it as it changes, until Ctrl-C is pressed."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how far each edition is, and which release is in production.

    It is read from the workspace alone, so also while a run works, from any machine that sees it.
    """
    from infra.storage.workspace import Workspace
    from jobs.terminal.status import print_status, watch_status
    from pipeline.queries.status import status as read_status

    place = Workspace.at(workspace)
    if watch:
        watch_status(lambda: read_status(place), as_json=as_json)
    elif as_json:
        say_json(read_status(place))
    else:
        print_status(read_status(place), Terminal())


def releases(workspace: WorkspaceOption = "workspace", as_json: JsonOption = False) -> None:
    """List the releases, how well each knows its facts, and where its report is."""
    from infra.storage.workspace import Workspace
    from pipeline.queries.status import in_production
    from pipeline.queries.status import releases as read_releases

    place = Workspace.at(workspace)
    rows = read_releases(place)
    if as_json:
        say_json(rows)
        return
    heads = ("version", "line", "as of", "edits", "right", "perplexity", "id", "")
    table = Table(*heads, box=None, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(
            *(row["version"], row["line"] or "", row["as_of"] or "", _number(row["edits"], "d")),
            *(_number(row["reliability"], ".0%"), _number(row["perplexity"], ".2f")),
            (row["release_id"] or "")[:12],
            ", ".join(word for word in ("production", "damage") if row[word]),
        )
    console = Terminal()
    console.print(table if rows else "no releases yet")
    for row in rows:
        told = f"report of {row['version']}: {row['page']}"
        if row["damage"]:
            told = f"damage of {row['version']}: {row['damage']}"
        console.print(told, soft_wrap=True)
    for told in in_production(place)[1]:
        console.print(told, soft_wrap=True)


def why(
    question: Annotated[
        str,
        typer.Argument(
            help="A prompt, or the name or id of the subject that it is about.", metavar="PROMPT"
        ),
    ],
    relation: Annotated[
        str | None,
        typer.Argument(help="Id of one relation (such as P54); without it, all of the subject's."),
    ] = None,
    workspace: WorkspaceOption = "workspace",
    as_json: JsonOption = False,
) -> None:
    """Explain what was decided about a fact: what changed, who says so, what the model believed."""
    from infra.storage.workspace import Workspace
    from jobs.terminal.facts import print_facts
    from pipeline.queries.why import why as explain

    facts = explain(Workspace.at(workspace), question, relation)
    if as_json:
        say_json(facts)
        return
    print_facts(facts, Terminal())


def _number(value: float | None, form: str) -> str:
    """A formatted number; empty if it was not measured."""
    return "" if value is None else format(value, form)
