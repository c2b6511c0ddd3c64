"""Dates in cells, as databases and their exports write them."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.facts.dates import days, iso_interval, to_iso
from discovery.sources.tabular.cell_dates import read_date

FIRST_OF_MARCH = [
    "2015-03-01",
    "2015-3-1",
    "2015/03/01",
    "20150301",
    "20150301.0",
    "2015-060",
    "2015-W09-7",
    "2015W097",
    "2015-03-01T10:00:00Z",
    "2015-03-01T10:00",
    "20150301T100000Z",
    "2015-03-01 10:00:00",
    "2015-03-01 10:00:00.123456",
    "2015-03-01 10:00:00,5",
    "2015-03-01T10:00:00.123456789+02:00",
    "2015-03-01 10:00:00+00",  # DuckDB, PostgreSQL
    "2015-03-01 10:00:00 UTC",  # BigQuery
    "2015-03-01 10:00:00.000 -0800",  # Snowflake
    "2015-03-01 10:00:00.000 Europe/Berlin",  # Trino
    "2015-03-01 10:00:00.0000000 +00:00",  # SQL Server
    "2015-03-01T10:00:00+01:00[Europe/Paris]",  # Java
    "2015-03-01 10:00 AM",
    "2015-03-01+01:00",  # xsd:date
    "2015-03-01Z",
]


@pytest.mark.parametrize("text", FIRST_OF_MARCH)
def test_a_day_is_read_however_it_is_written(text):
    """The day as it is written, whatever clock and zone stand behind it."""
    assert read_date(text, "start") == iso_interval("2015-03-01")


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2015", "2015"),
        ("2015.0", "2015"),
        ("+2015", "2015"),
        ("0800", "0800"),
        ("-0043-03-15", "-0043-03-15"),
        ("2015-03", "2015-03"),
        ("2015-03-00", "2015-03"),
        ("2015-00-00", "2015"),
        ("1926-##-##", "1926"),  # WIKIDATA12k, YAGO11k
        ("1926-05-##", "1926-05"),
        ("1926-XX-XX", "1926"),  # ISO 8601-2
        ("2004-06-XX", "2004-06"),
        ("1970-01-01", "1970-01-01"),
        ("1900-01-01", "1900-01-01"),
        ("2015-12-31", "2015-12-31"),
    ],
)
def test_a_date_is_not_more_precise_than_it_says(text, iso):
    """A year, a month, or a day; dates that are zeros elsewhere may be meant here."""
    found = read_date(text, "end")
    assert found is not None and to_iso(found) == iso


NO_DATES = ["", " ", "NULL", "null", "\\N", "NaT", "nan", "NaN", "None", "<NA>", "NA", "N/A", "-"]
NO_DATES += [
    "####-##-##",
    "XXXX-XX-XX",
    "0000-00-00",
    "0000-00-00 00:00:00",
    "0000-00-00T00:00:00Z",
    "00000000",
]
NO_DATES += ["0001-01-01", "0001-01-01T00:00:00Z", "0001-01-01 00:00:00", "00010101"]


@pytest.mark.parametrize("text", NO_DATES)
@pytest.mark.parametrize("role", ["date", "start", "end"])
def test_what_stands_for_no_date(text, role):
    """An end that is none leaves the fact open, a start that is none is unknown."""
    assert read_date(text, role) is None


@pytest.mark.parametrize(
    "text", ["9999-12-31", "9999-12-31 23:59:59.999999", "99991231", "9999", "9999-12", "infinity"]
)
def test_an_end_that_never_comes_is_none(text):
    """As an end these leave the fact open. As a start they are no unknown one: a row that begins
    in the year 9999 is not known yet, and infinity is no day."""
    assert read_date(text, "end") is None
    if text == "infinity":
        with pytest.raises(ValueError, match="start is not an ISO date"):
            read_date(text, "start")
    else:
        start = read_date(text, "start")
        assert start is not None and start.earliest >= days(date(9999, 1, 1))
    assert read_date("-infinity", "start") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1556668800", "is a number"),  # seconds since 1970
        ("1556668800.0", "is a number"),
        ("1556668800000", "is a number"),
        ("1556668800000000", "is a number"),
        ("1556668800000000000", "is a number"),
        ("201503", "is a number"),  # a month, or a day of 2020
        ("42064", "is a number"),  # days since 1900
        ("2457083", "is a number"),
        ("0", "is a number"),
        ("-1", "is a number"),
        ("15", "is a number"),
        ("20150", "is a number"),
        ("-99999999999999999999", "is a number"),
        ("20151301", "does not exist"),
        ("2015-02-30", "does not exist"),
        ("2015-13", "does not exist"),
        ("0000", "year 0"),
        ("0000-05-01", "year 0"),
        ("01/03/2015", "does not begin with its year"),
        ("1.3.2015", "does not begin with its year"),
        ("01-03-15", "does not begin with its year"),
        ("3/1/2015 10:00", "does not begin with its year"),
        ("March 2015", "is not an ISO date"),
        ("Mar 1, 2015", "is not an ISO date"),
        ("2015-Q1", "is not an ISO date"),
        ("2015-366", "is not an ISO date"),
        ("2015-W60-1", "is not an ISO date"),
        ("2015-W09", "is not an ISO date"),
        ("10:00:00", "is not an ISO date"),
        ("2015-03-01/2016-03-01", "is not an ISO date"),
        ("2015-03-01 2016-03-01", "is not an ISO date"),
        ("2015-03-01 to 2016-03-01", "is not an ISO date"),
        ("+12015-03-01", "is not an ISO date"),
        ("2015.5", "is not an ISO date"),
        ("1e9", "is not an ISO date"),
        ("true", "is not an ISO date"),
        ("soon", "is not an ISO date"),
    ],
)
def test_what_is_no_date_is_refused(text, words):
    """With a reason that begins with the role. No count of seconds or
    days is taken for a year, and no order of day and month is guessed."""
    with pytest.raises(ValueError, match=words) as caught:
        read_date(text, "end")
    assert str(caught.value).startswith("end ")


@given(st.dates(min_value=date(1, 1, 2), max_value=date(9998, 12, 31)))
def test_all_forms_of_a_day_are_that_day(day):
    """Extended and basic form, ordinal, week, and slashes agree with the standard library."""
    expected = days(day)
    year, week, number = day.isocalendar()
    forms = [day.isoformat(), day.isoformat().replace("-", ""), day.isoformat().replace("-", "/")]
    forms += [f"{day.year:04d}-{day.timetuple().tm_yday:03d}"]
    forms += [f"{year:04d}-W{week:02d}-{number}"] if year >= 1 else []
    for text in forms:
        found = read_date(text, "end")
        assert found is not None and (found.earliest, found.latest) == (expected, expected + 1)


@given(st.text("0123456789-+/.:TWZ ", max_size=24))
def test_any_text_is_a_plausible_date_none_or_a_reason(text):
    """What is read lies in the years -9999 to 9999, and nothing else is raised."""
    try:
        found = read_date(text, "start")
    except ValueError as error:
        assert str(error).startswith("start ")
        return
    assert found is None or -9999 <= int(to_iso(found).rpartition("/")[2][:5].rstrip("-")) <= 9999
