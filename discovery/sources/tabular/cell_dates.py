"""Read the date in a cell of a table, in the forms that databases and their exports write.

Read are a year (`2015`), a month (`2015-03`), a day (`2015-03-01`, `2015-3-1`, `2015/03/01`,
`20150301`, `2015-060`, `2015-W09-7`: ISO 8601 extended, basic, ordinal and week dates) and a time
stamp, of which the day counts as it is written. Unknown parts may be `00`, `##` (temporal knowledge
graphs) or `XX` (ISO 8601-2): `1926-##-##` is a year. Whole numbers are read as such texts. Nothing
is guessed: `01/03/2015`, a count of seconds or days, and any other number are refused.

Some values stand for no date: a missing cell and the words for it, day 00 of month 00 of year 0000
(MySQL), 0001-01-01 (the zero of .NET, Go and SQL Server), and as an end infinity and the year 9999.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import lru_cache

from discovery.facts.dates import iso_interval
from discovery.facts.fact import Interval

MISSING = frozenset({"null", "none", "nan", "nat", "na", "n/a", "#n/a", "<na>", "\\n", "-"})
"""Words for a missing date, in lower case."""
FOREVER = 9999
"""Year of an end that stands for none: 9999-12-31 in warehouses, datetime.max of drivers."""
NO_DATES = ((0, 0, 0), (1, 1, 1))
"""Year, month and day that stand for no date."""

_OFFSET = r"[+-](?:0\d|1[0-4])(?::?\d\d){0,2}"
_ZONE = rf" ?(?:[A-Za-z][\w/]*)?(?:{_OFFSET})?(?:\[[\w/+-]+\])?"
_FRACTION = r"(?:[.,]\d+)?"
_TIME = rf"(?:T\d\d(?::?\d\d(?::?\d\d{_FRACTION})?)?| \d\d?:\d\d(?::\d\d{_FRACTION})?)(?:{_ZONE})?"
_DAY = re.compile(rf"([+-]?\d{{4}})([-/])(\d\d?)\2(\d\d?)(?:{_TIME}|Z|{_OFFSET})?")
_BASIC = re.compile(rf"(\d{{4}})(\d\d)(\d\d)(?:{_TIME})?")
_MONTH = re.compile(r"[+-]?\d{4}(?:-\d\d)?")
_ORDINAL = re.compile(r"(\d{4})-(\d{3})")
_WEEK = re.compile(r"(\d{4})-?W(\d\d)-?(\d)")
_MASKED = re.compile(r"(?:[+-]?\d{4}|####|XXXX)-(?:\d\d|##|XX)-(?:##|XX)")
_NUMBER = re.compile(r"([+-]?\d+)(?:\.0*)?")
_DAY_LAST = re.compile(r"\d\d?([./-])\d\d?\1\d\d(?:\d\d)?(?:[T ].*)?")


@lru_cache(maxsize=1 << 16)
def read_date(text: str, role: str) -> Interval | None:
    """The days that a cell's date can mean; None where it stands for no date.

    role  `date`, `start` or `end`; the year 9999 and infinity stand for no date as an end only

    Raises ValueError with a reason that begins with the role and does not quote the cell.
    """
    text = text.strip()
    if not text or text.casefold() in MISSING:
        return None
    if text.casefold() == ("infinity" if role == "end" else "-infinity"):
        return None
    if _MASKED.fullmatch(text):
        text = re.sub("[#X]", "0", text)
    if number := _NUMBER.fullmatch(text):
        text = number[1]
        if len(text.lstrip("+-")) not in (4, 8):
            raise ValueError(f"{role} is a number that is neither a year nor a day like 20150301")
    if _DAY_LAST.fullmatch(text):
        raise ValueError(f"{role} does not begin with its year: write it as 2015-03-01")
    found = _read(text)
    if found is None:
        raise ValueError(f"{role} is not an ISO date or a year")
    year, iso = found
    if not iso or (role == "end" and year == FOREVER):
        return None
    if year == 0:
        raise ValueError(f"{role} is in a year 0, which is no year")
    try:
        return iso_interval(iso)
    except ValueError:
        raise ValueError(f"{role} is a day or month that does not exist") from None


def _read(text: str) -> tuple[int, str] | None:
    """The year and the ISO text of a date, which is empty where it stands for no date; None for
    other text."""
    if match := _DAY.fullmatch(text):
        return _day(match[1], match[3], match[4])
    if match := _BASIC.fullmatch(text):
        return _day(*match.groups())
    if _MONTH.fullmatch(text):
        return int(text[:5] if text[0] in "+-" else text[:4]), text
    if match := _ORDINAL.fullmatch(text):
        year, number = map(int, match.groups())
        day = date(year, 1, 1) + timedelta(number - 1) if 1 <= number <= 366 and year else None
        return (year, day.isoformat()) if day and day.year == year else None
    if match := _WEEK.fullmatch(text):
        try:
            day = date.fromisocalendar(*map(int, match.groups()))
        except ValueError:
            return None
        return day.year, day.isoformat()
    return None


def _day(year: str, month: str, day: str) -> tuple[int, str]:
    """The year and the ISO text of a day, which is empty where it stands for no date."""
    numbers = int(year), int(month), int(day)
    return numbers[0], "" if numbers in NO_DATES else f"{year}-{numbers[1]:02d}-{numbers[2]:02d}"
