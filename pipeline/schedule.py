"""When editions are due: a schedule in the form of cron, in a time zone.

An edition is of a day, so a schedule is due at most once a day, and its day is that of the schedule
in its own time zone, whenever the program really starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import takewhile
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, field_validator

EARLY = timedelta(minutes=5)
"""How much before its time a slot counts as due, since clocks of machines differ."""
_EXAMPLE = 'Write cron = "0 3 * * *" for 03:00 each day'
_FORM = re.compile(r"[0-9A-Za-z*,/-]+(?: +[0-9A-Za-z*,/-]+){4}")


class ScheduleConfig(BaseModel):
    """When the editions of a line are made, and what becomes of those that were missed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str
    """Minute, hour, days of the month, months, days of the week, as cron has them: `0 3 * * *` is
    03:00 each day, `30 5 * * MON` 05:30 each Monday. One minute and one hour; days of the month or
    of the week may be restricted, and not both, which programs read in different ways."""
    time_zone: str = "Etc/UTC"
    """Name of the time zone that the schedule and the days of editions are in, such as
    `Europe/Berlin`."""
    missed: Literal["skip", "make_up"] = "skip"
    """What becomes of days on which no run came as far as a verdict of the gate: `skip` leaves them
    out, `make_up` makes their editions before the present one, oldest first."""
    retries: int = Field(default=2, ge=0, le=20)
    """How often a run that failed is started again, where the scheduler can."""
    deadline_h: float = Field(default=12.0, gt=0, le=24 * 7)
    """Hours after which a scheduler ends a run."""

    @field_validator("cron")
    @classmethod
    def _cron(cls, cron: str) -> str:
        """The schedule in its plainest form, which all programs read in the same way."""
        if not _FORM.fullmatch(cron.strip()):
            raise ValueError(f"cron = {cron!r} is not five fields. {_EXAMPLE}")
        try:
            read = CronSim(cron, datetime(2000, 1, 1))
        except CronSimError as error:
            raise ValueError(f"cron = {cron!r}: {str(error).lower()}. {_EXAMPLE}") from None
        weekdays = {day % 7 for day in read.weekdays if isinstance(day, int)}
        if min(read.days) < 1 or any(isinstance(day, tuple) for day in read.weekdays):
            raise ValueError(f"cron = {cron!r}: not every scheduler knows L and #. {_EXAMPLE}")
        if len(read.minutes) > 1 or len(read.hours) > 1:
            raise ValueError(
                f"cron = {cron!r} is due several times a day, and an edition is of a day. "
                f"{_EXAMPLE}"
            )
        fields = (
            *((read.minutes, 60), (read.hours, 24), (read.days, 31), (read.months, 12)),
            (weekdays, 7),
        )
        found = [
            "*" if len(values) == most else ",".join(map(str, sorted(values)))
            for values, most in fields
        ]
        if "*" not in (found[2], found[4]):
            raise ValueError(
                f"cron = {cron!r} restricts days of the month and of the week, which programs read "
                "in different ways. Restrict one of them"
            )
        return " ".join(found)

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, name: str) -> str:
        try:
            if name in ("localtime", "Local"):
                raise ZoneInfoNotFoundError
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"time_zone = {name!r} is no time zone. Give its name in the IANA list, such as "
                "Europe/Berlin or Etc/UTC"
            ) from None
        return name

    def latest_day(self, now: datetime) -> date:
        """The day of the latest slot.

        now  the present, with a time zone
        """
        return next(self._back_from(now))

    def days_after(self, last: date, now: datetime) -> list[date]:
        """The days of all slots of later days than `last`, up to the present, oldest first."""
        return [*takewhile(lambda day: day > last, self._back_from(now))][::-1]

    def next_slot(self, now: datetime) -> datetime:
        """The first slot that is not due yet, in the schedule's time zone."""
        return next(CronSim(self.cron, now.astimezone(ZoneInfo(self.time_zone)) + EARLY))

    def _back_from(self, now: datetime) -> Iterator[date]:
        """The days of the slots that are due, latest first."""
        here = now.astimezone(ZoneInfo(self.time_zone)) + EARLY + timedelta(seconds=1)
        for slot in CronSim(self.cron, here, reverse=True):
            yield slot.date()
