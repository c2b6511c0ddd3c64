"""A systemd service and its timer."""

from __future__ import annotations

from infra.k8s.scheduled_job import ScheduledJob

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
RETRY_S = 60
"""Seconds between a run that failed and its retry."""
LIMIT_S = 23 * 3600
"""Seconds in which starts are counted for the limit of retries: less than from one day to the
next."""


def units(job: ScheduledJob, *, directory: str, env_file: str | None) -> dict[str, str]:
    """File name -> content of the two units. systemd never starts a service that still runs, and
    starts one that was due while the machine was off.

    directory  where the command runs
    env_file   file of NAME=VALUE lines that holds the secrets
    """
    service = [
        "[Unit]",
        f"Description={_plain(job.title)}",
        "Wants=network-online.target",
        "After=network-online.target",
        f"StartLimitIntervalSec={LIMIT_S}",
        f"StartLimitBurst={job.retries + 1}",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={_plain(directory)}",
        *([f"EnvironmentFile={_plain(env_file)}"] if env_file is not None else []),
        f"ExecStart={' '.join(map(_word, job.command))}",
        f"TimeoutStartSec={job.deadline_s}",
        *(["Restart=on-failure", f"RestartSec={RETRY_S}"] if job.retries else []),
    ]
    timer = [
        "[Unit]",
        f"Description={_plain(job.title)}",
        "",
        "[Timer]",
        f"OnCalendar={calendar_event(job.cron, job.time_zone)}",
        "Persistent=true",
        "AccuracySec=1min",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    contents = {"service": service, "timer": timer}
    return {f"{job.name}.{kind}": "\n".join(lines) + "\n" for kind, lines in contents.items()}


def calendar_event(cron: str, time_zone: str) -> str:
    """A schedule in systemd's form (systemd.time(7)).

    cron  five fields of numbers, lists and `*`
    """
    minute, hour, days, months, weekdays = cron.split()
    named = "" if weekdays == "*" else ",".join(DAYS[int(day)] for day in weekdays.split(",")) + " "
    return f"{named}*-{months}-{days} {hour}:{minute}:00 {time_zone}"


def _plain(text: str) -> str:
    """A value in which nothing is replaced."""
    return text.replace("%", "%%")


def _word(word: str) -> str:
    """A word of a command, in quotes where it needs them (systemd.service(5))."""
    plain = _plain(word).replace("$", "$$")
    if word and all(c.isalnum() or c in "-_./:=@,+%$" for c in word):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
