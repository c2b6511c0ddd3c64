"""Dates and quantities in sentences are written as people do, whatever a source gives."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.facts.dates import GREGORIAN, JULIAN, iso_interval, to_iso, wikibase_interval
from discovery.facts.words import quantity_in_words, time_in_words, unit_of

UNREADABLE = re.compile(r"[-+/]|(?<![\d,])0")
"""A sign, a slash, or a number that begins with a zero."""
YEARS = st.integers(-(10**11), 10**11) | st.integers(-2200, 2200)


def words(year: int, month: int, day: int, precision: int, calendar: str = GREGORIAN) -> str:
    """The words of a Wikibase time."""
    time = f"{'-' if year < 0 else '+'}{abs(year):04d}-{month:02d}-{day:02d}T00:00:00Z"
    value = {"time": time, "precision": precision, "calendarmodel": f"http://x/entity/{calendar}"}
    return time_in_words(to_iso(wikibase_interval(value)[0]))


@pytest.mark.parametrize(
    ("expected", "given_date"),
    [
        ("15 March 44 BCE", (-44, 3, 15, 11)),
        ("the 18th century", (1800, 0, 0, 7)),
        ("the 18th century", (1750, 0, 0, 7)),
        ("the 19th century", (1801, 0, 0, 7)),
        ("the 1st century", (50, 0, 0, 7)),
        ("the 1st century", (100, 0, 0, 7)),
        ("the 2nd century BCE", (-150, 0, 0, 7)),
        ("the 13th century", (1213, 0, 0, 7)),
        ("the 1990s", (1990, 0, 0, 8)),
        ("the 40s BCE", (-44, 0, 0, 8)),
        ("the years 1 to 9 CE", (7, 0, 0, 8)),
        ("May 1993", (1993, 5, 0, 10)),
        ("May 1993", (1993, 5, 0, 11)),
        ("44 BCE", (-44, 0, 0, 9)),
        ("79 CE", (79, 0, 0, 9)),
        ("1 BCE", (-1, 0, 0, 9)),
        ("12,000 BCE", (-12000, 0, 0, 9)),
        ("between 1000 and 3000", (2000, 0, 0, 6)),
        ("October 1066", (1066, 10, 0, 10, JULIAN)),
        ("1066", (1066, 0, 0, 9, JULIAN)),
        ("1917 (Julian calendar)", (1917, 0, 0, 9, JULIAN)),
        ("October 1917 (Julian calendar)", (1917, 10, 0, 10, JULIAN)),
        ("the 11th century", (1066, 0, 0, 7, JULIAN)),
    ],
)
def test_dates_are_written_as_people_write_them(expected: str, given_date: tuple) -> None:
    """Day, month, year, decade and century, on either side of year 1 and in both calendars."""
    assert words(*given_date) == expected


@given(YEARS, st.integers(0, 12), st.integers(0, 28), st.integers(0, 14), st.booleans())
def test_any_date_has_words(year: int, month: int, day: int, precision: int, julian: bool) -> None:
    """Whatever a Wikibase or a file may say: no sign, no year that begins with a zero, no slash."""
    said = words(year or 1, month, day, precision, JULIAN if julian else GREGORIAN)
    assert not UNREADABLE.search(said)
    assert said == said.strip() and said


@given(st.dates(), st.sampled_from([len("2015"), len("2015-03"), len("2015-03-04")]))
def test_iso_dates_of_files_have_words(day: date, length: int) -> None:
    """What tables and RDF files give: a year, a month or a day."""
    said = time_in_words(to_iso(iso_interval(day.isoformat()[:length])))
    assert not UNREADABLE.search(said)


def unit(year: int, precision: int) -> int:
    """Which year, decade, century or wider span a date of this precision is in."""
    magnitude = abs(year)
    by_precision = {9: magnitude, 8: magnitude // 10, 7: -(-magnitude // 100)}
    number = by_precision.get(precision, magnitude)
    return number if year > 0 else -number - 1


@given(YEARS, YEARS, st.integers(4, 9), st.booleans())
def test_dates_that_differ_have_words_that_differ(
    one: int, two: int, precision: int, julian: bool
) -> None:
    """Two dates of one precision have the same words if, and only if, they are the same year,
    decade or century."""
    calendar = JULIAN if julian else GREGORIAN
    one, two = one or 1, two or 1
    same = unit(one, precision) == unit(two, precision)
    assert (words(one, 0, 0, precision, calendar) == words(two, 0, 0, precision, calendar)) == same


@given(st.integers(-3000, 3000), st.integers(-500, 500), st.integers(10, 11), st.booleans())
def test_days_and_months_that_differ_have_words_that_differ(
    year: int, apart: int, precision: int, julian: bool
) -> None:
    """Of two days or months near each other."""
    calendar = JULIAN if julian else GREGORIAN
    dates = [((year or 1), 1 + n % 12, 1 + n % 28 if precision == 11 else 0) for n in (0, apart)]
    said = [words(*one, precision, calendar) for one in dates]
    assert (said[0] == said[1]) == (dates[0] == dates[1])


@pytest.mark.parametrize("text", ["", "soon", "1990/", "44 BCE", "+5 Q11573"])
def test_what_is_no_canonical_date_is_refused(text: str) -> None:
    """With the text and the reason."""
    with pytest.raises(ValueError, match="is no canonical date"):
        time_in_words(text)


def test_quantities_have_their_units_label() -> None:
    """A plus sign is left out, a minus sign is not; a unit without a label is told as an id."""
    assert quantity_in_words("+5 Q11573", "metre") == "5 metre"
    assert quantity_in_words("-0.50", None) == "-0.50"
    assert quantity_in_words("+5 Q11573", None) == "5 (unit Q11573)"
    assert (unit_of("+5 Q11573"), unit_of("+5")) == ("Q11573", "")
