"""What two statements have in common, and what one says of time: evidence for the rules. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from discovery.dates import iso_interval
from discovery.fact import Fact, Interval

BOUNDS = "bounds"
"""Of a quantity, a pseudo-qualifier `LOWER/UPPER`: how far off its source says that it may be."""
INCEPTION = frozenset({"P569", "P571", "P575", "P577", "P1191", "P1619"})
"""Dates from which on a subject exists: birth, inception, discovery, publication, first
performance, opening."""


def content(fact: Fact) -> Fact:
    """A fact without the revision it was read from."""
    return replace(fact, revision=None, revision_time=None, user=None)


def match(fact: Fact, others: Iterable[Fact]) -> Fact | None:
    """The same statement in the other snapshot: by id, else by value and qualifiers, else by value,
    since bots delete a statement and create it again."""
    same = [f for f in others if f.source == fact.source]
    by_id = [f for f in same if f.statement_id == fact.statement_id]
    by_value = [f for f in same if (f.value, f.snaktype) == (fact.value, fact.snaktype)]
    by_qualifiers = [f for f in by_value if f.qualifiers == fact.qualifiers]
    return next(iter([*by_id, *by_qualifiers, *by_value]), None)


def time_of(fact: Fact) -> Interval | None:
    """The interval of a time value, None where its text is no ISO date."""
    try:
        return iso_interval(fact.value) if fact.value_type == "time" else None
    except ValueError:
        return None


def refined(before: Fact, after: Fact) -> bool:
    """Whether a time value or a quantity became another within the bounds of the first."""
    if before.value_type == after.value_type == "quantity":
        old, new = _range(before), _range(after)
        if old is None or new is None or old == new:
            return False
        same_unit = before.value.partition(" ")[2] == after.value.partition(" ")[2]
        return same_unit and old[0] <= new[0] and new[1] <= old[1]
    was, now = time_of(before), time_of(after)
    if was is None or now is None:
        return False
    return was.earliest <= now.earliest and now.latest <= was.latest


def tenure(fact: Fact, now: Fact | None) -> Fact:
    """A fact with the dates that the later snapshot gives it, where it gives any."""
    if now is None:
        return fact
    return replace(fact, start=now.start or fact.start, end=now.end or fact.end)


def separators_of(fact: Fact, names: frozenset[str]) -> str:
    """The values of the qualifiers that tell a fact's group from others; "" where it has none."""
    if not names or fact.qualifiers == "[]":
        return ""
    pairs = [pair for pair in json.loads(fact.qualifiers) if pair[0] in names]
    return json.dumps(pairs) if pairs else ""


def _range(fact: Fact) -> tuple[Decimal, Decimal] | None:
    """Lowest and highest amount that a quantity may mean, None where its text is no number."""
    low = high = fact.value.partition(" ")[0]
    for name, value in json.loads(fact.qualifiers):
        if name == BOUNDS:
            low, _, high = value.partition("/")
    try:
        return Decimal(low), Decimal(high)
    except InvalidOperation:
        return None
