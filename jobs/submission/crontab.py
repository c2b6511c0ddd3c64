"""Lines for a crontab."""

from __future__ import annotations

import shlex

from infra.k8s.scheduled_job import ScheduledJob


def crontab(job: ScheduledJob, *, directory: str, env_file: str | None) -> str:
    """The lines of a job. Cron mails what a command prints; it neither retries nor makes up for
    time in which the machine was off.

    directory  where the command runs
    env_file   file of NAME=VALUE lines that holds the secrets
    """
    steps = [f"cd {shlex.quote(directory)}"]
    if env_file is not None:
        steps += ["set -a", f". {shlex.quote(env_file)}", "set +a"]
    limited = ("timeout", "--signal=TERM", "--kill-after=60", str(job.deadline_s), *job.command)
    command = " && ".join([*steps, f"exec {shlex.join(limited)}"])
    lines = [
        f"# {job.name}: {job.title}",
        f"CRON_TZ={job.time_zone}",
        f"{job.cron} {command.replace('%', chr(92) + '%')}",
    ]
    return "\n".join(lines) + "\n"
