"""Canonical values -> text for a sentence: `-0043-03-15` is `15 March 44 BCE`. Pure.

Canonical texts of dates are those of `discovery.facts.dates.to_iso`. Two days with a slash between
them are a whole decade or century, a month or year of the Julian calendar, or a wider span; which
of these, the days themselves say.
"""

from __future__ import annotations

import re

from discovery.facts.dates import GREGORIAN, day_number, gregorian_date, julian_date

REFORM = 1582
"""Year in which the Gregorian calendar was introduced."""
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_DATE = re.compile(r"([+-]?\d{4,})(?:-(\d\d))?(?:-(\d\d))?")
Date = tuple[int, int, int]
"""Astronomical year, month, day; month or day is 0 where it is open."""


def time_in_words(text: str) -> str:
    """A canonical date as one writes it: `15 March 44 BCE`, `May 1993`, `the 1990s`, `the 18th
    century`, `between 1000 and 3000`.

    Days are those of the Gregorian calendar, as in the canonical text. Months, years and wider
    spans that begin and end as those of the Julian calendar do are named so where both calendars
    were in use, from 1582 on; before that there was no other. Raises ValueError for a text that is
    no canonical date.
    """
    first, slash, last = text.partition("/")
    if not slash:
        return _date(_parsed(text))
    begin, end = (day_number(*_parsed(part), GREGORIAN) for part in (first, last))
    julian = " (Julian calendar)" if gregorian_date(end)[0] >= REFORM else ""
    for convert, calendar in ((gregorian_date, ""), (julian_date, julian)):
        if said := _span(convert(begin), convert(end + 1)):
            return said + calendar
    return f"between {_date(_parsed(first))} and {_date(_parsed(last))}"


def quantity_in_words(text: str, unit: str | None) -> str:
    """A canonical quantity as one writes it: `5 metre`, `-0.5`.

    unit  label of its unit; None where it is not known, and the unit's id is given
    """
    amount, _, key = text.partition(" ")
    if not key:
        return amount.removeprefix("+")
    return f"{amount.removeprefix('+')} {unit or f'(unit {key})'}"


def unit_of(text: str) -> str:
    """Id of the unit of a canonical quantity; empty where it has none."""
    return text.partition(" ")[2]


def _parsed(text: str) -> Date:
    """The parts of one date."""
    match = _DATE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no canonical date")
    year, month, day = (int(part or 0) for part in match.groups())
    return year, month, day


def _date(date: Date) -> str:
    year, month, day = date
    parts = [str(day)] if day else []
    parts += [MONTHS[month - 1]] if month else []
    return " ".join([*parts, _year(year)])


def _year(year: int) -> str:
    """An astronomical year with its era where that is in doubt: BCE, and CE below 100."""
    historical = year if year > 0 else 1 - year
    digits = f"{historical:,}" if historical > 9999 else str(historical)
    return digits + _era(historical, bce=year <= 0)


def _era(historical: int, *, bce: bool) -> str:
    return " BCE" if bce else " CE" if historical < 100 else ""


def _span(begin: Date, after: Date) -> str | None:
    """The days from `begin` up to, not including, `after`, if they are whole months or years."""
    (year, month, day), (next_year, next_month, next_day) = begin, after
    if day != 1 or next_day != 1:
        return None
    if 12 * (next_year - year) + next_month - month == 1:
        return _date((year, month, 0))
    if month != 1 or next_month != 1:
        return None
    return _years(year, next_year - 1)


def _years(first: int, last: int) -> str:
    """The astronomical years first to last: a year, a decade, a century, or `between` both.

    A century is written in the sources by its last year or by any within it, which `dates` reads as
    two different spans of one century.
    """
    if first == last:
        return _year(first)
    bce = last <= 0
    near, far = (1 - last, 1 - first) if bce else (first, last)
    if (first > 0) == (last > 0):
        if far % 10 == 9 and near == max(far - 9, 1):
            era = _era(far, bce=bce)
            return f"the {near}s{era}" if near > 1 else f"the years 1 to 9{era}"
        n = far // 100
        inside = far == 100 * n and near == max(far - 100, 1)
        by_last = far == 100 * n + 99 and near == far - 198
        if n and (inside or by_last):
            return f"the {_ordinal(n)} century" + (" BCE" if bce else "")
    return f"between {_year(first)} and {_year(last)}"


def _ordinal(n: int) -> str:
    """`1st`, `2nd`, `11th`."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{'th' if n % 100 in (11, 12, 13) else ending}"
