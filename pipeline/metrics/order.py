"""What a mean hides: how far a number depends on the order of edits, and who fares worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from infra.errors import ProtocolError
from pipeline.gate import MIN_RELATION
from pipeline.metrics.metric import Measured, Metric, parts, same_protocol

MIN_ORDERS = 3
"""Seeds of the order of edits, at least, behind any claim about editing in sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """One number over several orders of the same edits."""

    mean: float
    low: float
    """The least of them."""
    high: float
    """The greatest."""
    n: int
    """Orders."""
    protocol: str


def over_orders(numbers: Sequence[Metric]) -> Orders:
    """Mean, least and greatest, one number an order of edits.

    Raises ProtocolError for two protocols, and for less than three orders: at thousands of edits
    one order says little of another.
    """
    same_protocol(*(number.protocol for number in numbers))
    if len(numbers) < MIN_ORDERS:
        raise ProtocolError(
            f"{len(numbers)} orders of edits were measured, and a claim about editing in sequence "
            f"needs {MIN_ORDERS}. Run more seeds of the order."
        )
    values = [number.value for number in numbers]
    return Orders(
        mean=fmean(values),
        low=min(values),
        high=max(values),
        n=len(values),
        protocol=numbers[0].protocol,
    )


def worst_decile(whole: Measured, subjects: Mapping[str, str]) -> Metric:
    """Mean of the worst tenth of subjects, one of them at least; `subjects` names each case's.

    n subjects in the tenth; no interval, for they were chosen by their scores. NaN of no facts.
    """
    means = sorted(fmean(part.items.values()) for part in parts(whole, subjects).values())
    worst = means[: math.ceil(len(means) / 10)]
    value = whole.combine(fmean(worst)) if worst else math.nan
    return Metric(value=value, n=len(worst), protocol=str(whole.protocol))


def worst_relation(
    whole: Measured, relations: Mapping[str, str], *, min_facts: int = MIN_RELATION
) -> tuple[str, Metric] | None:
    """The relation of the least mean, and its number, of those with enough facts for it to count;
    `relations` names each case's. None where none has; of equals the first by name.
    """
    numbers = {
        relation: part.metric()
        for relation, part in parts(whole, relations).items()
        if len(part.items) >= min_facts
    }
    return min(numbers.items(), key=lambda pair: pair[1].value) if numbers else None
