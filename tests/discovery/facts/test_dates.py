"""Dates of all kinds against the standard library and hand-made cases."""

from datetime import date, timedelta

import pytest

from discovery.facts.dates import days, holds, iso_interval, to_iso, wikibase_interval, within
from discovery.facts.fact import Interval

GREGORIAN = "http://www.wikidata.org/entity/Q1985727"
JULIAN = "http://www.wikidata.org/entity/Q1985786"


def wikibase(time, precision=11, calendar=GREGORIAN):
    return wikibase_interval(
        {"time": time, "precision": precision, "calendarmodel": calendar, "timezone": 0}
    )[0]


def test_days_agree_with_the_standard_library():
    """Every 97th day of 9,998 years is the interval of one day that `datetime` says it is."""
    day = date(1, 1, 1)
    while day < date(9998, 1, 1):
        interval = iso_interval(day.isoformat())
        assert (interval.earliest, interval.latest) == (days(day), days(day) + 1)
        assert to_iso(interval) == day.isoformat()
        day += timedelta(97)


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2021", date(2021, 1, 1), date(2022, 1, 1)),
        ("2020-02", date(2020, 2, 1), date(2020, 3, 1)),
        ("2020-12", date(2020, 12, 1), date(2021, 1, 1)),
        ("2020-02-29T10:00:00Z", date(2020, 2, 29), date(2020, 3, 1)),
    ],
)
def test_iso_dates_are_not_padded(text, first, after):
    """A year is its whole year and a month its whole month."""
    interval = iso_interval(text)
    assert (interval.earliest, interval.latest) == (days(first), days(after))


@pytest.mark.parametrize("text", ["", "soon", "2020-13", "2021-02-29", "20-01-01", "2020-1-1"])
def test_malformed_iso_dates_are_refused(text):
    """What is no date raises ValueError with the reason, and nothing else."""
    with pytest.raises(ValueError, match=r".+"):
        iso_interval(text)


def test_unknown_month_and_day_widen():
    """`00` for the month means the year, for the day the month, whatever the precision claims."""
    assert wikibase("+2016-00-00T00:00:00Z") == iso_interval("2016")
    assert wikibase("+2016-05-00T00:00:00Z") == iso_interval("2016-05")
    assert wikibase("+2016-00-00T00:00:00Z", 9) == iso_interval("2016")


def test_julian_dates_are_converted():
    """1582-10-04 Julian is the day before 1582-10-15 Gregorian; 1917-10-25 is 1917-11-07."""
    last = wikibase("+1582-10-04T00:00:00Z", calendar=JULIAN)
    assert last.latest == days(date(1582, 10, 15))
    october = wikibase("+1917-10-25T00:00:00Z", calendar=JULIAN)
    assert october.earliest == days(date(1917, 11, 7))
    assert wikibase("+1900-02-29T00:00:00Z", calendar=JULIAN).earliest == days(date(1900, 3, 13))


def test_there_is_no_year_zero_but_there_is_1_bce():
    """`-0001` ends where year 1 begins; year 0 is refused; -0044 is ISO year -0043."""
    assert (
        wikibase("-0001-00-00T00:00:00Z", 9).latest == wikibase("+0001-00-00T00:00:00Z", 9).earliest
    )
    assert to_iso(wikibase("-0044-03-15T00:00:00Z")) == "-0043-03-15"
    assert iso_interval("-0043-03-15") == wikibase("-0044-03-15T00:00:00Z")
    with pytest.raises(ValueError, match="no year 0"):
        wikibase("+0000-01-01T00:00:00Z")


def test_years_over_four_digits():
    """A five-digit year is read, ordered after, and 400 years are 146,097 days anywhere."""
    assert wikibase("+12000-01-01T00:00:00Z").earliest > days(date(9999, 12, 31))
    span = wikibase("+12400-01-01T00:00:00Z").earliest - wikibase("+12000-01-01T00:00:00Z").earliest
    assert span == 146_097


def test_thirtieth_of_february_is_the_month_with_a_remark():
    """Impossible days occur in Wikidata: they are read as their month and say so."""
    value = {"time": "+2015-02-30T00:00:00Z", "precision": 11, "calendarmodel": GREGORIAN}
    interval, remark = wikibase_interval(value)
    assert interval == iso_interval("2015-02")
    assert remark is not None and "day 30" in remark


def test_wide_precisions():
    """A decade is ten years; a century is the union of both conventions; wider decides nothing."""
    decade, century = wikibase("+1987-00-00T00:00:00Z", 8), wikibase("+1900-00-00T00:00:00Z", 7)
    assert decade == Interval(days(date(1980, 1, 1)), days(date(1990, 1, 1)), 8)
    assert century == Interval(days(date(1801, 1, 1)), days(date(2000, 1, 1)), 7)
    millennium = wikibase("+1500-00-00T00:00:00Z", 6)
    assert holds(millennium, None, days(date(1400, 1, 1))) == "maybe"


@pytest.mark.parametrize(
    ("start", "end", "at", "expected"),
    [
        (None, None, "2016-08-31", "yes"),
        ("2016", None, "2016-08-31", "maybe"),
        ("2015", None, "2016-08-31", "yes"),
        ("2017", None, "2016-08-31", "no"),
        (None, "2016", "2016-08-31", "maybe"),
        (None, "2016-08-30", "2016-08-31", "no"),
        (None, "2016-08-31", "2016-08-31", "maybe"),
        ("2016-08-31", "2017", "2016-08-31", "yes"),
    ],
)
def test_holds(start, end, at, expected):
    """Inside the width of a deciding date the answer is `maybe`, outside it is certain."""
    day = iso_interval(at).earliest
    first, last = (iso_interval(text) if text else None for text in (start, end))
    assert holds(first, last, day) == expected


def test_within_is_maybe_only_across_an_edge():
    """The window (after, until] excludes its first day and includes its last."""
    window = (days(date(2016, 8, 31)), days(date(2023, 6, 30)))
    assert within(iso_interval("2016-08-31"), *window) == "no"
    assert within(iso_interval("2016"), *window) == "maybe"
    assert within(iso_interval("2020"), *window) == "yes"
    assert within(iso_interval("2023-06-30"), *window) == "yes"
    assert within(iso_interval("2023"), *window) == "maybe"
    assert within(iso_interval("2024"), *window) == "no"
