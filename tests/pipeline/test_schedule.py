"""A schedule names the days of its editions, by a clock that is given."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from infra.errors import ConfigError
from infra.settings import validate
from pipeline.schedule import ScheduleConfig


def schedule(cron: str = "0 3 * * *", **settings: Any) -> ScheduleConfig:
    """A valid schedule."""
    return validate(ScheduleConfig, {"cron": cron, **settings}, "schedule")


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("0 3 * * *", "0 3 * * *"),
        ("30  5 * *  Mon-Fri", "30 5 * * 1,2,3,4,5"),
        ("0 3 * * 7", "0 3 * * 0"),
        ("0 3 1,15 */3 *", "0 3 1,15 1,4,7,10 *"),
        ("0 3 1-31 1-12 0-6", "0 3 * * *"),
    ],
)
def test_a_schedule_is_written_in_one_form(given: str, plain: str) -> None:
    """Names, steps, ranges and Sunday as 7 are not the same to all schedulers; lists are."""
    assert schedule(given).cron == plain == schedule(plain).cron


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cron": "@daily"}, "is not five fields"),
        ({"cron": "0 3 * *"}, "is not five fields"),
        ({"cron": "0 0 3 * * *"}, "is not five fields"),
        ({"cron": "0 3 * * *\n"}, None),
        ({"cron": "0 24 * * *"}, "bad hour"),
        ({"cron": "0 3 30 2 *"}, "bad day-of-month"),
        ({"cron": "*/5 3 * * *"}, "several times a day"),
        ({"cron": "0 3,15 * * *"}, "several times a day"),
        ({"cron": "0 3 L * *"}, "not every scheduler knows L"),
        ({"cron": "0 3 * * 5L"}, "not every scheduler knows L"),
        ({"cron": "0 3 1 * 1"}, "Restrict one of them"),
        ({"time_zone": "Mars/Olympus"}, "'Mars/Olympus' is no time zone"),
        ({"time_zone": "localtime"}, "is no time zone"),
        ({"time_zone": "../etc/passwd"}, "is no time zone"),
        ({"missed": "later"}, "missed"),
        ({"retries": -1}, "retries"),
    ],
)
def test_a_schedule_that_is_refused(settings: dict[str, Any], said: str | None) -> None:
    """One line with what was given, and an example."""
    given = {"cron": "0 3 * * *", **settings}
    if said is None:
        assert schedule(**given).cron == "0 3 * * *"
        return
    with pytest.raises(ConfigError) as told:
        schedule(**given)
    assert said in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("settings", "now", "day"),
    [
        ({}, "2026-11-23T02:54:59", "2026-11-22"),
        ({}, "2026-11-23T02:55:00", "2026-11-23"),  # this clock is behind the scheduler's
        ({}, "2026-11-23T03:00:00", "2026-11-23"),
        ({}, "2026-11-24T02:30:00", "2026-11-23"),
        ({"time_zone": "Pacific/Auckland"}, "2026-11-22T14:30:00", "2026-11-23"),
        ({"time_zone": "America/Los_Angeles"}, "2026-11-23T10:00:00", "2026-11-22"),
        ({"cron": "0 3 * * 1"}, "2026-11-29T12:00:00", "2026-11-23"),
        ({"cron": "0 3 1 * *"}, "2026-11-29T12:00:00", "2026-11-01"),
        ({"cron": "0 3 29 2 *"}, "2026-11-29T12:00:00", "2024-02-29"),
        # 02:30 does not exist on the last Sunday of March, and is there twice in October
        ({"cron": "30 2 * * *", "time_zone": "Europe/Berlin"}, "2026-03-29T01:00", "2026-03-29"),
        ({"cron": "30 2 * * *", "time_zone": "Europe/Berlin"}, "2026-10-25T02:00", "2026-10-25"),
    ],
)
def test_the_day_is_that_of_the_latest_slot(settings: dict[str, Any], now: str, day: str) -> None:
    """In the schedule's time zone, wherever and whenever it is asked."""
    assert schedule(**settings).latest_day(at(now)) == date.fromisoformat(day)


def test_days_since_a_release() -> None:
    """Each slot's day once, across the hours that a change of the clock takes and gives."""
    berlin = schedule("30 2 * * *", time_zone="Europe/Berlin")
    for last, now in (("2026-03-27", "2026-03-30T12:00"), ("2026-10-23", "2026-10-26T12:00")):
        days = berlin.days_after(date.fromisoformat(last), at(now))
        assert [day.day for day in days] == [date.fromisoformat(last).day + n for n in (1, 2, 3)]
    weekly = schedule("0 3 * * 1")
    days = weekly.days_after(date(2026, 11, 9), at("2026-11-29T12:00"))
    assert days == [date(2026, 11, 16), date(2026, 11, 23)]
    assert weekly.next_slot(at("2026-11-29T12:00")) == at("2026-11-30T03:00")
