"""`corrigenda schedule`: how a scheduler is told to run a config."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.display import say, say_json
from infra.errors import ConfigError
from jobs.commands.options import ConfigOption, JsonOption


def schedule(
    config: ConfigOption,
    form: Annotated[
        str,
        typer.Option(
            "--as",
            help="What to render: crontab, systemd, cronjob (Kubernetes), or rayjob, raycluster or "
            "raycronjob (KubeRay).",
        ),
    ],
    address: Annotated[
        str | None,
        typer.Option(
            help="Submit each run to the Ray cluster with this dashboard, instead of running it "
            "where the scheduler is."
        ),
    ] = None,
    workspace: Annotated[
        str | None,
        typer.Option("--workspace", "-w", help="Directory for output, instead of the config's."),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(help="File of NAME=VALUE lines with the secrets, for crontab and systemd."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Container image that has this package, for Kubernetes.")
    ] = None,
    claim: Annotated[
        str | None,
        typer.Option(help="PersistentVolumeClaim that holds workspace and model, for Kubernetes."),
    ] = None,
    mount: Annotated[str, typer.Option(help="Where pods find the claim.")] = "/workspace",
    secret: Annotated[
        str | None,
        typer.Option(
            help="Kubernetes Secret with a key for each variable that the config refers to; unset "
            "has the name of the job."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker pods of a Ray cluster.")] = 1,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs of each pod.")] = 4,
    memory: Annotated[str, typer.Option(help="Memory of each pod.")] = "16Gi",
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each worker pod.")] = 0,
    write: Annotated[
        Path | None,
        typer.Option(help="Directory to write the files to, instead of printing them."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Render the schedule of a config for a scheduler, and say how to apply it.

    Nothing is applied. The config's [schedule] says when, in which time zone, and what becomes of
    missed days; each run names the day of its edition itself.
    """
    from infra.files.atomic import write_text
    from infra.settings import nearest
    from jobs.submission.schedule import (
        FORMS,
        MANIFESTS,
        Cluster,
        cluster_job,
        how_to_apply,
        local_job,
        render_local,
        render_manifests,
        variables,
    )
    from pipeline.config import load_config

    if form not in FORMS:
        known = ", ".join(FORMS)
        raise ConfigError(f"--as {form!r} is unknown{nearest(form, FORMS)}. Choose one of {known}.")
    settings = load_config(config, {"workspace": workspace})
    if form in MANIFESTS:
        cluster = Cluster(
            image=image,
            claim=claim,
            mount=mount,
            secret=secret,
            workers=workers,
            cpus=cpus,
            memory=memory,
            gpus=gpus,
        )
        job = cluster_job(config, settings, cluster, form=form, address=address)
        files = render_manifests(job, form)
    else:
        job = local_job(config, settings, address=address, workspace=workspace)
        files = render_local(job, form, config=settings, env_file=env_file)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_text(write / name, text)
    names = list(files) if write is None else [str(write / name) for name in files]
    submits = variables(settings) if address is not None else ()
    advice = how_to_apply(job, form, names, submits=submits)
    if as_json:
        say_json({"files": files, "advice": advice})
        return
    for name, text in files.items():
        if write is not None:
            say(f"wrote {write / name}", file=sys.stderr)
        else:
            say((f"# {name}\n" if len(files) > 1 else "") + text.rstrip("\n"))
    for line in advice:
        say(line, file=sys.stderr)
