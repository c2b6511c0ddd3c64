"""Options that several commands share, with their texts for `--help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
