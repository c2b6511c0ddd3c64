"""`corrigenda submit`, `jobs` and `cancel`: runs on a Ray cluster, by its Jobs API."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from infra.display import Terminal, pass_on, say, say_json
from infra.errors import StageError
from jobs.commands.options import ConfigOption, EditionOption, JsonOption, edition_day

if TYPE_CHECKING:
    from jobs.submission.client import Job, JobsClient
    from jobs.submission.submission import Submission

AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        help="Address of the cluster's dashboard, which `ray start --head` prints, such as "
        "http://127.0.0.1:8265.",
        envvar="RAY_API_SERVER_ADDRESS",
    ),
]


def submit(
    config: ConfigOption,
    address: AddressOption,
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            "-w",
            help="Directory for output that all nodes see, instead of the config's.",
        ),
    ] = None,
    edition: EditionOption = None,
    until: Annotated[
        str | None, typer.Option(help="Stop after this stage, as of `corrigenda run`.")
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option(help="This package as a wheel, for nodes on which it is not installed."),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(help="File of pinned packages (NAME==VERSION) to install for the job."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            help="Environment variable of this machine that the job gets, once for each. Whoever "
            "may list the cluster's jobs can read its value."
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Print the job's log and end as it does, or go on."),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Run a config on a Ray cluster, as a job.

    The config and the files beside it that it names are uploaded; model and workspace are where
    all nodes see them. The same edition twice is one job: it is followed, not made again. One that
    failed is tried again. The exit code is that of the job.
    """
    from infra.files.digest import digest_of, file_digest
    from jobs.submission.client import JobsClient
    from jobs.submission.files import digest_of_files, job_files
    from jobs.submission.submission import (
        FROM_WHEEL,
        PROGRAM,
        Submission,
        environment,
        on_this_machine,
        run_command,
        submission_id,
    )
    from jobs.terminal.secrets import warn_of_secrets
    from pipeline.config import Edition, load_config
    from pipeline.due import job_day

    settings = load_config(config, {"workspace": workspace})
    warn_of_secrets(settings.sources)
    client = JobsClient(address)
    local = on_this_machine(address)
    files = job_files(config, settings)
    day = job_day(settings, datetime.now(UTC), edition_day(edition))
    version = settings.editions[-1].version if day is None else Edition(as_of=day).version
    words = [] if until is None else ["--until", until]
    words += [] if day is None else ["--edition", day.isoformat()]
    program = PROGRAM if wheel is None else FROM_WHEEL
    entrypoint = run_command(program, config.name, settings, local=local, words=words)
    surroundings = environment(local=local, requirements=requirements, variables=env or ())
    brought = file_digest(wheel) if wheel is not None and wheel.is_file() else None
    made_of = [digest_of_files(files), entrypoint, brought, surroundings.get("pip")]
    submission = Submission(
        id=submission_id(settings.line, version),
        entrypoint=entrypoint,
        environment=surroundings,
        wheel=wheel,
        metadata={
            "line": settings.line,
            "edition": version,
            "made_of": digest_of(made_of),
        },
    )
    job_id = _submit_once(client, submission, files)
    if not wait:
        job = client.job(job_id)
        if as_json:
            say_json(_as_json(job))
        else:
            say(job_id)
        return
    hint = f"Ctrl-C leaves it running; `corrigenda cancel {job_id} --address {address}` ends it."
    say(f"following {job_id}. {hint}", file=sys.stderr)
    log = sys.stderr if as_json else sys.stdout
    job = client.follow(job_id, lambda text: pass_on(text, log))
    if as_json:
        say_json(_as_json(job))
    _end_as(job, by_wheel=wheel is not None)


def jobs(address: AddressOption, as_json: JsonOption = False) -> None:
    """List the jobs of a Ray cluster that `corrigenda submit` has made."""
    from jobs.submission.client import JobsClient

    found = JobsClient(address).jobs()
    if as_json:
        say_json([_as_json(job) for job in found])
        return
    table = Table("job", "state", "started", "exit code", box=None, padding=(0, 1, 0, 0))
    table.columns[0].no_wrap = True
    for job in found:
        code = "" if job.exit_code is None else str(job.exit_code)
        table.add_row(job.id, job.state, job.started or "", code)
    Terminal().print(table if found else "no jobs yet")


def cancel(
    job: Annotated[str, typer.Argument(help="Id of the job, as `corrigenda jobs` lists it.")],
    address: AddressOption,
    as_json: JsonOption = False,
) -> None:
    """End a job of a Ray cluster. What it has finished is kept; the next run goes on with it."""
    from jobs.submission.client import JobsClient

    client = JobsClient(address)
    before = client.job(job)
    after = before if before.has_ended else client.cancel(job)
    if as_json:
        say_json(_as_json(after))
    else:
        had = "had ended before" if before.has_ended else "has ended"
        say(f"{job} {had}: {after.state}")


def _submit_once(client: JobsClient, submission: Submission, files: dict[str, Path]) -> str:
    """The id of the job of an edition: one that runs or has succeeded, else a new attempt.

    Raises StageError where one of other files runs.
    """
    from dataclasses import replace

    attempts = client.attempts(submission.id)
    last = attempts[-1] if attempts else None
    if last is not None and last.state not in ("FAILED", "STOPPED"):
        if last.metadata == submission.metadata:
            done = "has succeeded" if last.has_ended else f"is {last.state}"
            say(f"{last.id} {done} already; nothing is submitted", file=sys.stderr)
            return last.id
        if not last.has_ended:
            raise StageError(
                f"job {last.id} of the same edition is {last.state} with another config or other "
                "files. Wait until it ends, or cancel it."
            )
    name = f"{submission.id}-r{len(attempts)}" if attempts else submission.id
    try:
        client.submit(replace(submission, id=name), files)
    except StageError:
        if name not in [job.id for job in client.attempts(submission.id)]:
            raise
        say(f"{name} was submitted by another process meanwhile", file=sys.stderr)
    return name


def _as_json(job: Job) -> dict[str, object]:
    """A job as JSON."""
    from dataclasses import asdict

    return asdict(job)


def _end_as(job: Job, *, by_wheel: bool) -> None:
    """Leave with the exit code of a job; one that ended otherwise says why, and exits with 1."""
    if job.state == "SUCCEEDED":
        return
    if job.state == "FAILED" and job.exit_code == 127 and not by_wheel:
        raise StageError(
            f"job {job.id}: the nodes have no program `corrigenda` on their PATH. Run `ray start` "
            "in the environment that has it, or give --wheel."
        )
    if job.state == "FAILED" and job.exit_code and job.exit_code > 0:
        raise typer.Exit(job.exit_code)
    lines = job.message.splitlines() or ["it gave no reason"]
    raise StageError(f"job {job.id} is {job.state}: {lines[0]}")
