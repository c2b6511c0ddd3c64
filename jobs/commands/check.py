"""`corrigenda check`: what a run would do, what would stop it, and how long it takes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from infra.display import Terminal, say_json
from jobs.commands.options import ConfigOption, EditionOption, JsonOption, RayOption, edition_day


def check(
    config: ConfigOption,
    workspace: Annotated[
        str | None,
        typer.Option("--workspace", "-w", help="Directory for output, instead of the config's."),
    ] = None,
    edition: EditionOption = None,
    ray_address: RayOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Look before a run: can the sources be read, does the model fit, how long does it take.

    A little of each source is read, and the model is loaded. Nothing is made but caches. The exit
    code is 1 where something would stop a run.
    """
    from infra.models.library import quiet_transformers
    from infra.storage.workspace import Workspace
    from jobs.terminal.check import print_part, print_verdict
    from jobs.terminal.secrets import warn_of_secrets
    from pipeline.check.check import Checked, faults_of_settings
    from pipeline.check.check import check as check_parts
    from pipeline.config import load_config
    from pipeline.due import due_editions

    console = Terminal()
    wrong = faults_of_settings(config)
    parts = {}
    stops = list(wrong)
    if wrong and not as_json:
        console.print(Text(f"Settings of {config}", "bold"), soft_wrap=True)
    if not wrong:
        settings = load_config(config, {"workspace": workspace})
        place = Workspace.at(settings.workspace)
        due = due_editions(settings, place, datetime.now(UTC), edition_day(edition))
        settings = due if due.editions else settings
        warn_of_secrets(settings.sources)
        quiet_transformers()
        given = Checked(
            config=settings,
            config_dir=config.parent.absolute(),
            workspace=place,
            address=ray_address,
        )
        for part in check_parts(given):
            parts.setdefault(type(part).__name__, []).append(asdict(part))
            stops += part.stops
            if not as_json:
                print_part(part, console)
    if as_json:
        found = {name.removesuffix("Check").lower(): value for name, value in parts.items()}
        say_json({**found, "stops": stops})
    else:
        print_verdict(stops, str(config), console)
    if stops:
        raise typer.Exit(1)
