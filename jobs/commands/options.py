"""Options that several commands share, with their texts for `--help`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from infra.errors import ConfigError

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config", "-c", help="File (TOML) that names the model, the sources and all settings."
    ),
]
WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="Directory that holds everything a run has made.")
]
LineOption = Annotated[
    str | None,
    typer.Option(help="Which model line to look at, where the workspace has several."),
]
EditionOption = Annotated[
    str | None,
    typer.Option(
        help="Day of the edition to make, as 2026-11-23 or `today`, instead of the editions of "
        "the config."
    ),
]
RayOption = Annotated[
    str,
    typer.Option(
        help="Where the work runs: `local` starts Ray on this machine, `none` uses this process "
        "alone, anything else is the address of a running Ray cluster."
    ),
]
RunAddressOption = Annotated[
    str,
    typer.Option(
        help="Where the work runs: `local` starts Ray on this machine, `none` uses this process "
        "alone, `torchrun` the processes that torchrun started, anything else is the address of a "
        "running Ray cluster."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON value and nothing else.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also print every count and every measured number.")
]


def edition_day(given: str | None) -> date | None:
    """The day of an `--edition`; None where there is none. Raises ConfigError for what is no
    day."""
    from pipeline.config import day_of

    if given is None:
        return None
    try:
        return date.today() if given == "today" else day_of(given)
    except ValueError:
        raise ConfigError(
            f"--edition {given!r} is no day. Give one such as 2026-11-23, or `today`."
        ) from None
