"""The scheduled job of a config, and how each scheduler is told of it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from infra.errors import ConfigError
from infra.k8s.cron_job import cron_job
from infra.k8s.kuberay import ray_cluster, ray_cron_job, ray_job
from infra.k8s.pods import Manifest, as_yaml
from infra.k8s.scheduled_job import CONFIG_DIR, ScheduledJob, job_name
from infra.secrets.references import references
from jobs.submission.crontab import crontab
from jobs.submission.files import job_files
from jobs.submission.submission import PREFIX, PROGRAM
from jobs.submission.systemd import units
from pipeline.config import Config
from pipeline.schedule import ScheduleConfig

MANIFESTS: Mapping[str, Callable[[ScheduledJob], list[Manifest]]] = {
    "cronjob": cron_job,
    "rayjob": ray_job,
    "raycluster": ray_cluster,
    "raycronjob": ray_cron_job,
}
"""Name of a form of Kubernetes -> what renders it."""
FORMS = ("crontab", "systemd", *MANIFESTS)
"""Names of all forms."""
UNSCHEDULED = ("rayjob", "raycluster")
"""Forms that have no schedule."""
MAX_CONFIG_MAP_BYTES = 900 << 10
"""Bytes of the files of a ConfigMap; Kubernetes refuses one of 1 MiB, in which some are base64."""
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What only Kubernetes needs to know."""

    image: str | None
    claim: str | None
    mount: str
    secret: str | None
    workers: int
    cpus: int
    memory: str
    gpus: int


def variables(config: Config) -> tuple[str, ...]:
    """The environment variables that the settings of sources refer to, sorted."""
    found = set()
    for source in (*config.sources, *filter(None, [config.trust.revert_risk])):
        for name in source.may_hold_secrets:
            for reference in references(getattr(source, name)):
                if match := _VARIABLE.fullmatch(reference):
                    found.add(match[1])
    return tuple(sorted(found))


def local_job(
    path: Path, config: Config, *, address: str | None, workspace: str | None = None
) -> ScheduledJob:
    """The job of this machine's scheduler, which runs a config here, or submits it to a cluster.

    workspace  given instead of the config's

    Raises ConfigError for a config without a schedule, and for paths with line ends.
    """
    program = shutil.which(PROGRAM, path=str(Path(sys.executable).absolute().parent)) or PROGRAM
    file = str(path.absolute())
    if not f"{file}{os.getcwd()}".isprintable():
        raise ConfigError(f"--config {file!r}: its path has a character that no line may have.")
    command = _command(program, file, address, workspace=workspace)
    return replace(_job(path, config), command=command)


def cluster_job(
    path: Path, config: Config, cluster: Cluster, *, form: str, address: str | None
) -> ScheduledJob:
    """The job of a Kubernetes cluster.

    form     a key of `MANIFESTS`
    address  the Jobs API that a CronJob submits to; without one, it runs the config in its pod

    Raises ConfigError for a config without a schedule, one that holds a secret, for settings that
    are missing, and for a workspace that the pods do not see.
    """
    for option, given, what in (
        ("--image", cluster.image, f"the container image that has `{PROGRAM}`"),
        ("--claim", cluster.claim, "the PersistentVolumeClaim for workspace and model"),
    ):
        if not given:
            raise ConfigError(f"{option} is missing: give {what}.")
    if address is not None and form != "cronjob":
        raise ConfigError(f"--address goes with crontab, systemd and cronjob; {form} has its own.")
    for source in config.sources:
        if secrets := source.literal_secrets:
            raise ConfigError(
                f"source {source.name}: a secret stands in `{secrets[0]}` in full, and the config "
                "is put into a ConfigMap. Write ${NAME} in its place."
            )
    if not PurePosixPath(config.workspace).is_relative_to(cluster.mount):
        raise ConfigError(
            f"workspace = {config.workspace!r} is not below {cluster.mount}, where pods find the "
            f"claim. Give --workspace {cluster.mount}/{config.line}, or another --mount."
        )
    files = job_files(path, config, max_bytes=MAX_CONFIG_MAP_BYTES, where="a ConfigMap")
    name = job_name(f"{PREFIX}{config.line}")
    command = _command(PROGRAM, f"{CONFIG_DIR}/{path.name}", address, workspace=config.workspace)
    if form != "cronjob":
        command += ("--ray-address", "auto")
    return replace(
        _job(path, config, scheduled=form not in UNSCHEDULED),
        command=command,
        secrets=variables(config),
        secret=cluster.secret or name,
        image=cluster.image or "",
        claim=cluster.claim or "",
        files={name: file.read_bytes() for name, file in files.items()},
        mount=cluster.mount,
        workers=cluster.workers,
        cpus=cluster.cpus,
        memory=cluster.memory,
        gpus=cluster.gpus,
        ray_version=version("ray"),
    )


def render_local(
    job: ScheduledJob, form: str, *, config: Config, env_file: Path | None
) -> dict[str, str]:
    """File name -> content, for this machine's scheduler.

    Raises ConfigError where the config refers to variables and no file has them.
    """
    if (names := variables(config)) and env_file is None:
        raise ConfigError(
            f"the config refers to {', '.join(names)}: give --env-file, the path of a file of "
            "NAME=VALUE lines that only its owner can read."
        )
    file = None if env_file is None else str(env_file.absolute())
    if form == "systemd":
        return units(job, directory=os.getcwd(), env_file=file)
    return {f"{job.name}.crontab": crontab(job, directory=os.getcwd(), env_file=file)}


def render_manifests(job: ScheduledJob, form: str) -> dict[str, str]:
    """File name -> YAML, for Kubernetes."""
    return {f"{job.name}.{form}.yaml": as_yaml(MANIFESTS[form](job))}


def how_to_apply(
    job: ScheduledJob, form: str, files: Sequence[str], *, submits: Sequence[str] = ()
) -> list[str]:
    """Lines on how a scheduler is told of the files, and on what it cannot do.

    submits  variables that a config which is submitted refers to
    """
    lines = _steps(job, form, files)
    if submits:
        lines.append(
            f"The nodes of the cluster need {', '.join(submits)} in their environment; what a job "
            "takes along by --env can be read by whoever may list its jobs."
        )
    return lines


def _steps(job: ScheduledJob, form: str, files: Sequence[str]) -> list[str]:
    """What is to be done for a form, and what it cannot do."""
    if form == "crontab":
        return [
            f"Add the lines: (crontab -l; cat {files[0]}) | crontab -",
            "cron does not retry, and leaves out runs while the machine is off; the next run makes "
            'up for missed days with [schedule] missed = "make_up".',
            "CRON_TZ is obeyed by cronie and systemd-cron. Debian's cron runs in the time zone of "
            "the machine: set that one, or use --as systemd.",
        ]
    if form == "systemd":
        return [
            f"Copy {' and '.join(files)} to /etc/systemd/system, then: systemctl daemon-reload && "
            f"systemctl enable --now {job.name}.timer",
            "Retries need systemd 244 or later.",
        ]
    lines = [f"kubectl apply -f {files[0]}"]
    if job.secrets:
        lines.insert(
            0,
            f"kubectl create secret generic {job.secret} --from-env-file=FILE, where FILE has "
            f"NAME=VALUE lines of {', '.join(job.secrets)}",
        )
    if form == "raycronjob":
        lines += [
            "RayCronJob needs KubeRay 1.6 or later with its feature gate RayCronJob. It has no "
            "concurrency policy: a run that overlaps another ends with one line, and fails.",
        ]
    return lines


def _job(path: Path, config: Config, *, scheduled: bool = True) -> ScheduledJob:
    """The job, without its command."""
    if config.schedule is None and scheduled:
        raise ConfigError(
            f'config {path} has no schedule. Add [schedule] with cron = "0 3 * * *", for 03:00 '
            "each day."
        )
    schedule = config.schedule or ScheduleConfig(cron="0 3 * * *")  # when is not rendered then
    return ScheduledJob(
        name=job_name(f"{PREFIX}{config.line}"),
        title=f"Corrigenda, the editions of line {config.line} that are due",
        command=(),
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        retries=schedule.retries,
        deadline_s=round(schedule.deadline_h * 3600),
    )


def _command(
    program: str, file: str, address: str | None, *, workspace: str | None = None
) -> tuple[str, ...]:
    """The command that runs a config, or that submits it to a cluster and waits for its end."""
    words = [program, "run" if address is None else "submit", "--config", file]
    words += [] if address is None else ["--address", address]
    words += [] if workspace is None else ["--workspace", workspace]
    return tuple(words)
