"""When is what the model believes from? The effective cut-off of each relation.

    A(d) = share of subjects whose believed value holds on day d

over the beliefs whose value the source dates; its peak is the effective cut-off, which differs from
the advertised one (arXiv:2403.12958). A fact that may or may not hold on a day counts half. Where
several days are as good the middle of them is given, and the first and last beside it; the interval
is of a bootstrap over subjects.

    cutoff.json   the curves, by relation and of all together
    cutoff.html   the same, drawn; it needs no other file
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from discovery.facts.change import Change
from discovery.facts.dates import holds, to_iso
from discovery.facts.fact import Interval
from discovery.relations.labels import clean_label

ALL = "all"
MIN_SUBJECTS = 5
"""Of fewer there is no cut-off, only their curve."""
NUM_DAYS = 240
"""Points of a curve, at most."""
MONTH_DAYS = 30.4375
NUM_SAMPLES = 1000
SEED = 0
_COUNTED = {"yes": 1.0, "maybe": 0.5, "no": 0.0}

Tenure = tuple[Interval | None, Interval | None]
"""Start and end; None is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """What a model believes of one subject, and when that was so."""

    relation: str
    tenures: tuple[Tenure, ...]
    """Of the believed value; the same value may have held twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A(d) of one relation, or of all."""

    relation: str
    label: str
    num_subjects: int
    days: tuple[int, ...]
    """Days since 1970-01-01, ascending."""
    shares: tuple[float, ...]
    peak: int | None
    """The effective cut-off; None of too few subjects."""
    plateau: tuple[int, int] | None
    """First and last day that is as good."""
    interval: tuple[int, int] | None
    """2.5 % and 97.5 % of the peak over samples of the subjects."""


def tenures(change: Change, believed: str) -> tuple[Tenure, ...]:
    """When the believed label was the value, as far as the source dates it."""
    found: list[Tenure] = []
    if change.new_label is not None and clean_label(change.new_label) == believed:
        found.append((change.since, None))
    dated = zip(change.old_labels, change.old_starts, change.old_ends, strict=False)
    for label, start, end in dated:
        if clean_label(label) == believed:
            found.append((start, end))
    return tuple(tenure for tenure in found if tenure != (None, None))


def as_of(held: Sequence[Tenure], today: int) -> Interval | None:
    """The days that date a belief: from the earliest that its last tenure may have begun to the
    latest that it may have ended, or to today.

    None without a date, and where only an end is known: it then dates nothing from below.
    """
    begun = [(start, end) for start, end in held if start is not None]
    if not begun:
        return None
    start, end = max(begun, key=lambda tenure: tenure[0].earliest if tenure[0] else 0)
    latest = today + 1 if end is None else end.latest
    earliest = start.earliest if start else latest
    return Interval(earliest, max(latest, earliest + 1))


def curves(beliefs: Iterable[Dated], labels: Mapping[str, str], today: int) -> list[Curve]:
    """One curve a relation, by id, after one of all together."""
    groups: dict[str, list[Dated]] = {}
    for belief in beliefs:
        if belief.tenures:
            groups.setdefault(ALL, []).append(belief)
            groups.setdefault(belief.relation, []).append(belief)
    order = sorted(groups, key=lambda key: (key != ALL, key))
    names = {**labels, ALL: "all relations"}
    return [_curve(key, names.get(key, key), groups[key], today) for key in order]


def _curve(relation: str, label: str, beliefs: Sequence[Dated], today: int) -> Curve:
    days_D = _grid(beliefs, today)
    holding_SD = np.array(
        [
            [max(_COUNTED[holds(*tenure, int(day))] for tenure in b.tenures) for day in days_D]
            for b in beliefs
        ]
    )
    peak = plateau = interval = None
    if len(beliefs) >= MIN_SUBJECTS:
        peak, plateau = _peak(days_D, holding_SD.sum(0))
        # Not scipy's bootstrap: a sample is how often each subject is drawn, so that one product
        # of matrices sums the curves of all of them.
        draw = np.random.default_rng(SEED)
        samples_KS = draw.multinomial(len(beliefs), [1 / len(beliefs)] * len(beliefs), NUM_SAMPLES)
        peaks = [_peak(days_D, sums_D)[0] for sums_D in samples_KS @ holding_SD]
        low, high = np.quantile(peaks, [0.025, 0.975], method="nearest")
        interval = int(low), int(high)
    return Curve(
        relation=relation,
        label=label,
        num_subjects=len(beliefs),
        days=tuple(int(day) for day in days_D),
        shares=tuple(holding_SD.mean(0).tolist()),
        peak=peak,
        plateau=plateau,
        interval=interval,
    )


def _grid(beliefs: Sequence[Dated], today: int) -> np.ndarray:
    """Days a month apart, or further where the dates lie far apart, from a year before the first
    tenth of all dates until today."""
    dated = [day for b in beliefs for tenure in b.tenures for day in _ends(tenure) if day <= today]
    first = int(np.quantile(dated, 0.1, method="lower")) - 365 if dated else today - 3650
    number = min(NUM_DAYS, max(2, round((today - first) / MONTH_DAYS)))
    return np.unique(np.linspace(first, today, number).round().astype(np.int64))


def _ends(tenure: Tenure) -> Iterable[int]:
    return (interval.earliest for interval in tenure if interval is not None)


def _peak(days_D: np.ndarray, sums_D: np.ndarray) -> tuple[int, tuple[int, int]]:
    """Middle, first and last day of the longest run of days where the sum is greatest."""
    best_D = sums_D >= sums_D.max() - 1e-9
    edges = np.flatnonzero(np.diff(np.concatenate([[0], best_D.astype(int), [0]])))
    runs = list(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))
    first, last = max(runs, key=lambda run: (run[1] - run[0], run[1]))
    return int(days_D[(first + last) // 2]), (int(days_D[first]), int(days_D[last]))


def as_json(found: Sequence[Curve]) -> dict[str, Any]:
    """`cutoff.json`; days as ISO dates."""
    return {
        "schema": 1,
        "relations": {
            c.relation: {
                "label": c.label,
                "subjects": c.num_subjects,
                "cutoff": c.peak if c.peak is None else iso(c.peak),
                "plateau": c.plateau and [iso(day) for day in c.plateau],
                "interval": c.interval and [iso(day) for day in c.interval],
                "days": [iso(day) for day in c.days],
                "shares": [round(share, 6) for share in c.shares],
            }
            for c in found
        },
    }


def iso(day: int) -> str:
    """A day as `2015-03-04`."""
    return to_iso(Interval(day, day + 1))
