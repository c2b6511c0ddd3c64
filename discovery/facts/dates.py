"""Dates as sources write them -> intervals of days, and whether a fact holds on a day. Pure.

Time values of Wikibase follow `docs/topics/json.md` of Wikibase: a text in the calendar that is
named beside it, a precision, `00` for an unknown month or day, and no year 0 (`-0001` is 1 BCE). A
date that leaves the day open becomes an interval of all days that it may mean; for a day inside it,
`holds` answers `maybe`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Literal

from discovery.facts.fact import Interval

GREGORIAN, JULIAN = "Q1985727", "Q1985786"
"""Wikidata items of the proleptic Gregorian and the proleptic Julian calendar."""
DAY, MONTH, YEAR, DECADE, CENTURY = 11, 10, 9, 8, 7
"""Precisions of Wikibase."""
FAR_PAST = -(10**13)
"""Day before anything that a source can date (the widest precision of Wikibase is 10⁹ years)."""

Holds = Literal["yes", "no", "maybe"]
"""Whether something is so, by dates that may be imprecise."""

_WIKIBASE = re.compile(r"([+-]?)(\d{1,16})-(\d\d)-(\d\d)T\d\d:\d\d:\d\dZ")
MAX_YEAR = 10**12
"""Years further from 0 are refused: they are older than anything, and their days would soon exceed
64 bits."""
_ISO = re.compile(r"([+-]?\d{4,18})(?:-(\d\d)(?:-(\d\d)(?:[T ].*)?)?)?")


def days(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH


def iso_interval(text: str) -> Interval:
    """`2015`, `2015-03`, `2015-03-04` or a time stamp of that day (ISO 8601) as an interval.

    Years are astronomical: `0000` is 1 BCE. Raises ValueError with the reason.
    """
    match = _ISO.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not an ISO date or a year")
    year, month, day = (int(part or 0) for part in match.groups())
    precision = DAY if day else MONTH if month else YEAR
    historical = year if year > 0 else year - 1
    interval, remark = _interval(historical, month, day, precision, GREGORIAN)
    if remark:
        raise ValueError(f"{text!r}: {remark}")
    return interval


def wikibase_interval(value: Mapping[str, Any]) -> tuple[Interval, str | None]:
    """A Wikibase time value as an interval, and a remark where the date does not exist, as 30
    February, and its month was taken instead.

    Precisions 12-14 (hours to seconds) are read as the day. Raises ValueError with the reason.
    """
    text, precision = str(value.get("time")), value.get("precision")
    if not isinstance(precision, int) or not 0 <= precision <= 14:
        raise ValueError(f"time {text!r} with precision {precision!r} is not a Wikibase time")
    return _read_wikibase(text, precision, str(value.get("calendarmodel", GREGORIAN)))


@lru_cache(maxsize=1 << 16)
def _read_wikibase(text: str, precision: int, calendar: str) -> tuple[Interval, str | None]:
    """The interval and remark of a time value. Cached, since most facts share a few dates."""
    match = _WIKIBASE.fullmatch(text)
    if not match:
        raise ValueError(f"time {text!r} with precision {precision!r} is not a Wikibase time")
    model = calendar.rpartition("/")[2]
    if model not in (GREGORIAN, JULIAN):
        raise ValueError(f"calendar {model!r} is neither Gregorian nor Julian")
    sign, digits, month, day = match.groups()
    year = int(digits)
    if year == 0:
        raise ValueError(f"time {text!r}: there is no year 0")
    return _interval(
        -year if sign == "-" else year, int(month), int(day), min(precision, DAY), model
    )


def holds(start: Interval | None, end: Interval | None, at: int) -> Holds:
    """Whether something that began at `start` and ended at `end` holds on day `at`.

    A missing date sets no limit. On the last day itself the answer is `maybe`: sources differ on
    whether a fact still holds on its end date.
    """
    begun: Holds = "yes" if start is None or at >= start.latest - 1 else "maybe"
    if start is not None and at < start.earliest:
        begun = "no"
    ended: Holds = "no" if end is None or at < end.earliest else "maybe"
    if end is not None and at >= end.latest:
        ended = "yes"
    if begun == "no" or ended == "yes":
        return "no"
    return "yes" if begun == "yes" and ended == "no" else "maybe"


def within(interval: Interval, after: int, until: int) -> Holds:
    """Whether a date lies in the window (after, until]."""
    if interval.latest - 1 <= after or interval.earliest > until:
        return "no"
    return "yes" if interval.earliest > after and interval.latest - 1 <= until else "maybe"


def to_iso(interval: Interval) -> str:
    """An interval as ISO 8601 text of its precision, with astronomical years: the inverse of
    `iso_interval`.

    A year or month of the Julian calendar is not one of the Gregorian calendar, and ISO has no text
    for a decade or wider: these are given as `FIRST/LAST`, both days included.
    """
    first, last = gregorian_date(interval.earliest), gregorian_date(interval.latest - 1)
    if interval.precision == DAY:
        return _text(*first)
    if interval.precision == MONTH and first[:2] == last[:2]:
        return _text(*first[:2])
    if interval.precision == YEAR and first[0] == last[0]:
        return _text(first[0])
    return f"{_text(*first)}/{_text(*last)}"


def _text(year: int, *rest: int) -> str:
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return "-".join([f"{sign}{abs(year):04d}", *(f"{part:02d}" for part in rest)])


def _interval(
    year: int, month: int, day: int, precision: int, model: str
) -> tuple[Interval, str | None]:
    """The interval of a date, and a remark where the day does not exist.

    The year is historical: there is no 0, and -1 is 1 BCE. Month or day 00 and days that do not
    exist widen the interval to the year or month.
    """
    remark = None
    if abs(year) > MAX_YEAR:
        raise ValueError(f"year {year} is before or after anything")
    if precision >= MONTH and month == 0:
        precision = YEAR
    if precision == DAY and day == 0:
        precision = MONTH
    if precision >= MONTH and not 1 <= month <= 12:
        raise ValueError(f"month {month} does not exist")
    if precision == DAY and day > _month_length(_astronomical(year), month, model):
        if day > 31:
            raise ValueError(f"day {day} does not exist")
        remark = f"day {day} does not exist in month {month}: read as the month"
        precision = MONTH
    if precision <= YEAR:
        first_year, last_year = _years(year, precision)
        first = day_number(first_year, 1, 1, model)
        after = day_number(last_year + 1, 1, 1, model)
    elif precision == MONTH:
        y = _astronomical(year)
        first = day_number(y, month, 1, model)
        after = day_number(*((y, month + 1) if month < 12 else (y + 1, 1)), 1, model)
    else:
        first = day_number(_astronomical(year), month, day, model)
        after = first + 1
    return Interval(first, after, precision), remark


def _astronomical(year: int) -> int:
    """1 BCE is year 0, 2 BCE year -1."""
    return year if year > 0 else year + 1


def _years(year: int, precision: int) -> tuple[int, int]:
    """First and last astronomical year of a year, decade, century or wider.

    A century is the union of both conventions (1900 as 1801-1900 and as 1900-1999). Wider
    precisions mean so little that the whole unit either side is taken: they decide nothing.
    """
    size, magnitude = 10 ** (YEAR - precision), abs(year)
    if precision == YEAR:
        near, far = magnitude, magnitude
    elif precision == DECADE:
        near = magnitude // size * size
        far = near + size - 1
    elif precision == CENTURY:
        near = min((magnitude - 1) // size * size + 1, magnitude // size * size)
        far = max((magnitude - 1) // size * size + size, magnitude // size * size + size - 1)
    else:
        return _astronomical(year) - size, _astronomical(year) + size
    near = max(near, 1)
    return (near, far) if year > 0 else (_astronomical(-far), _astronomical(-near))


def _month_length(year: int, month: int, model: str) -> int:
    leap = (
        year % 4 == 0 if model == JULIAN else year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    )
    return 29 if month == 2 and leap else _MONTH_LENGTHS[month - 1]


def day_number(year: int, month: int, day: int, model: str) -> int:
    """Days since 1970-01-01 of a date in its own calendar, for any astronomical year.

    Not `datetime`'s, which knows the years 1 to 9999 and one calendar; sources date the Big Bang.
    Years are counted from March, so that the leap day ends them and the months' lengths follow (153
    m + 2) // 5 (Hatcher 1984, as in Explanatory Supplement to the Astronomical Almanac ch. 12).
    """
    y, m = (year, month - 3) if month > 2 else (year - 1, month + 9)
    leap_days = y // 4 if model == JULIAN else y // 4 - y // 100 + y // 400
    origin = _JULIAN_ORIGIN if model == JULIAN else _GREGORIAN_ORIGIN
    return 365 * y + leap_days + (153 * m + 2) // 5 + day - 1 - origin


def gregorian_date(number: int) -> tuple[int, int, int]:
    """Year, month and day of the proleptic Gregorian calendar: the inverse of `day_number`."""
    era, rest = divmod(number + _GREGORIAN_ORIGIN, 146_097)  # days in 400 years
    year_of_era = (rest - rest // 1460 + rest // 36_524 - rest // 146_096) // 365
    day_of_year = rest - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    m = (5 * day_of_year + 2) // 153
    year = era * 400 + year_of_era + (m > 9)
    return year, (m + 3 if m < 10 else m - 9), day_of_year - (153 * m + 2) // 5 + 1


def julian_date(number: int) -> tuple[int, int, int]:
    """Year, month and day of the Julian calendar: the inverse of `day_number`."""
    days_since = number + _JULIAN_ORIGIN
    year = (4 * days_since + 3) // 1461  # days in 4 years
    day_of_year = days_since - 365 * year - year // 4
    m = (5 * day_of_year + 2) // 153
    return year + (m > 9), (m + 3 if m < 10 else m - 9), day_of_year - (153 * m + 2) // 5 + 1


_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH = date(1970, 1, 1).toordinal()
_GREGORIAN_ORIGIN = 719_468
"""Days from 0000-03-01 to 1970-01-01, both Gregorian."""
_JULIAN_ORIGIN = 719_470
"""Days from 0000-03-01 Julian, which is 0000-02-28 Gregorian, to 1970-01-01."""
