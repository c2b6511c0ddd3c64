"""The editions that a run is to make: those of the config, or those that are due by its
schedule."""

from __future__ import annotations

from datetime import date, datetime

from infra.storage.workspace import Workspace
from pipeline.config import Config, Edition
from pipeline.release.alias import Alias
from pipeline.release.output import MANIFEST

MAX_MADE_UP = 31
"""Missed editions that one run makes at most; of more, the oldest are left out."""


def due_editions(
    config: Config, workspace: Workspace, now: datetime, day: date | None = None
) -> Config:
    """The config with the editions that are to be made; none where nothing is due.

    now  the present, with a time zone
    day  the day of the last edition, where it is given

    Without a schedule the editions are the config's, or the one of `day`. With one, they are those
    of the latest slot, and of missed ones if `schedule.missed` says so. Missed is a slot that is
    later than the last release of the line, and whose edition has no verdict of the gate.
    """
    schedule = config.schedule
    if schedule is None:
        return config if day is None else _with(config, [day])
    latest = day or schedule.latest_day(now)
    last = last_day(config, workspace)
    if last is not None and latest <= last:
        return _with(config, [])
    if last is None or schedule.missed == "skip":
        return _with(config, [latest])
    slots = [slot for slot in schedule.days_after(last, now) if slot < latest]
    missed = [slot for slot in slots if workspace.find("gate", _edition(slot).version) is None]
    return _with(config, [*missed[-MAX_MADE_UP:], latest])


def job_day(config: Config, now: datetime, day: date | None = None) -> date | None:
    """The day of the last edition of a job that is submitted, which keeps it however long it waits;
    None where the config has editions of its own.

    now  the present, with a time zone
    day  the day of the last edition, where it is given
    """
    if day is not None or "editions" in config.model_fields_set:
        return day
    return config.schedule.latest_day(now) if config.schedule else config.editions[-1].as_of


def last_day(config: Config, workspace: Workspace) -> date | None:
    """The latest day of all releases of the line that have been in production; None before the
    first."""
    found = [workspace.find("release", v) for v in Alias(workspace, config.line).known()]
    days = [made.json(MANIFEST)["as_of"] for made in found if made is not None]
    return date.fromisoformat(max(days)) if days else None


def _edition(day: date) -> Edition:
    """The edition of a day."""
    return Edition(as_of=day)


def _with(config: Config, days: list[date]) -> Config:
    """The config with the editions of these days."""
    return config.model_copy(update={"editions": tuple(map(_edition, days))})
