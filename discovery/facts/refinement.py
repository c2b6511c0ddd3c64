"""Whether a time or a quantity was only given more precisely, and not changed. Pure."""

from __future__ import annotations

from decimal import Decimal

from discovery.facts.dates import iso_interval
from discovery.facts.fact import Fact, Interval


def time_of(fact: Fact) -> Interval | None:
    """The interval of a fact whose value is a time, None where it is not, or is no ISO date."""
    try:
        return iso_interval(fact.value) if fact.value_type == "time" else None
    except ValueError:
        return None


def refined(before: Fact, after: Fact) -> bool:
    """Whether the value after is a time within the interval of the one before, or a quantity of the
    same unit within its bounds."""
    old, new = time_of(before), time_of(after)
    if old is not None and new is not None:
        return old.earliest <= new.earliest and new.latest <= old.latest
    if before.bounds is None or after.value_type != "quantity":
        return False
    (amount, unit), (_, old_unit) = _quantity(after.value), _quantity(before.value)
    (low, high), span = _span(before.bounds), _span(after.bounds or f"{amount}..{amount}")
    return unit == old_unit and low <= span[0] and span[1] <= high


def _quantity(value: str) -> tuple[str, str]:
    """Amount and unit."""
    amount, _, unit = value.partition(" ")
    return amount, unit


def _span(bounds: str) -> tuple[Decimal, Decimal]:
    low, _, high = bounds.partition("..")
    return Decimal(low), Decimal(high)
