"""`corrigenda run`: run the nine stages for every edition of a config."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.display import Terminal, line, say, say_json
from infra.errors import ConfigError, CorrigendaError
from infra.secrets.masks import mask_message
from jobs.commands.options import (
    ConfigOption,
    EditionOption,
    JsonOption,
    RunAddressOption,
    VerboseOption,
    edition_day,
)

if TYPE_CHECKING:
    from infra.storage.artifact import Artifact
    from pipeline.schedule import ScheduleConfig


def run(
    config: ConfigOption,
    workspace: Annotated[
        str | None,
        typer.Option("--workspace", "-w", help="Directory for output, instead of the config's."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Directory or Hugging Face id of the model, instead of the config's."),
    ] = None,
    max_edits: Annotated[
        int | None,
        typer.Option(help="How many new facts one release may write, instead of the config's."),
    ] = None,
    ray_address: RunAddressOption = "local",
    until: Annotated[
        str,
        typer.Option(
            help="Stop after this stage: crawl, snapshot, diff, probe, plan, edit, evaluate, gate "
            "or release. `plan` shows what would be edited."
        ),
    ] = "release",
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Discard output of other settings that has not been released."
        ),
    ] = False,
    edition: EditionOption = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Release that the next edition follows, instead of the one in production; `base` "
            "for none.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart",
            help="Go on within the stage that an earlier run left unfinished, or begin that stage "
            "anew.",
        ),
    ] = True,
    log: Annotated[
        Path | None,
        typer.Option(help="File to add the run's log to, one JSON object a line."),
    ] = None,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read the sources, find what the model has wrong, correct it, check it, and release it.

    All editions of the config are made, one after the other; with a [schedule], those that are due.
    What is finished stays: after an interruption, run the same command again.
    """
    from infra.execution.ray_runner import runner_at
    from infra.execution.torchrun_runner import TORCHRUN, serve_torchrun
    from infra.models.library import quiet_transformers
    from infra.storage.workspace import Workspace
    from jobs.telemetry.run_telemetry import RunTelemetry
    from jobs.terminal.edition import print_edition, print_next
    from jobs.terminal.progress import StageWatch
    from jobs.terminal.secrets import warn_of_secrets
    from pipeline.config import load_config
    from pipeline.due import due_editions
    from pipeline.flow import run_editions
    from pipeline.queries.summary import summarise
    from pipeline.run import Run
    from pipeline.stages import STAGES

    if ray_address == TORCHRUN and serve_torchrun():
        return
    if until not in STAGES:
        raise ConfigError(f"--until {until!r} is no stage. Choose one of {', '.join(STAGES)}.")
    given = {"workspace": workspace, "model.name": model, "plan.max_edits": max_edits}
    given["telemetry.log"] = None if log is None else str(log.absolute())
    settings = load_config(config, given)
    warn_of_secrets(settings.sources)
    place = Workspace.at(settings.workspace)
    now = datetime.now(UTC)
    settings = due_editions(settings, place, now, edition_day(edition))
    if not settings.editions and settings.schedule is not None:
        _say_nothing_due(settings.schedule, now, as_json=as_json)
        return
    quiet_transformers()
    failure: CorrigendaError | None = None
    with (
        StageWatch(place, quiet=as_json, verbose=verbose) as watch,
        runner_at(ray_address, place.root) as runner,
        RunTelemetry.of(settings, place, runner) as telemetry,
    ):

        def begin(stage: str, version: str) -> None:
            watch.begin(stage, version)
            telemetry.begin(stage, version)

        def tell(text: str) -> None:
            watch.tell(text)
            telemetry.tell(text)

        def end(artifact: Artifact) -> None:
            watch.end(artifact)
            telemetry.end(artifact)

        job = Run(
            config=settings,
            config_dir=config.parent.absolute(),
            workspace=place,
            runner=runner,
            start=start,
            replace=replace,
            restart=not resume,
            stamp={"commit": _commit(), "runner": runner.name},
            checking=watch.checking,
            checked=watch.checked,
            begin=begin,
            tell=tell,
            end=end,
        )
        try:
            run_editions(job, until=until)
        except CorrigendaError as error:
            failure = type(error)(mask_message(str(error)))
            telemetry.fail(failure)
    editions = [summarise(made) for made in watch.made.values()]
    if as_json:
        say_json({"editions": editions, "error": failure and str(failure)})
    else:
        console = Terminal()
        for summary in editions:
            print_edition(summary, console, verbose=verbose)
        if failure is None and until == STAGES[-1]:
            print_next(editions[-1], place, console)
    if failure is not None:
        say(f"{type(failure).__name__}: {line(mask_message(str(failure)))}", file=sys.stderr)
        raise typer.Exit(1)


def _say_nothing_due(schedule: ScheduleConfig, now: datetime, *, as_json: bool) -> None:
    """Print that there is nothing to do, and when there will be."""
    due = schedule.next_slot(now).isoformat(" ", "minutes")
    if as_json:
        say_json({"editions": [], "error": None, "next": due})
    else:
        say(f"nothing is due: the edition of the latest day is released. The next is due {due}.")


def _commit() -> str | None:
    """Git commit of the running code; None if it does not run from a checkout."""
    git: Any = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
