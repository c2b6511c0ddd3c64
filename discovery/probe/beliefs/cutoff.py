"""The effective knowledge cut-off of a model, for each relation (arXiv:2403.12958).

    A(d) = share of subjects whose believed value was true on day d

The share is over the beliefs whose value has a date in the source. The day where it is greatest is
the effective cut-off, which may differ from the advertised one. A value that may or may not have
been true on a day counts half. Where several days are equally good, the result is the middle one,
with the first and the last beside it. The confidence interval is of a bootstrap over subjects.
Letters in names of arrays: S subjects, D days, K bootstrap samples.

    cutoff.json   the curves, for each relation and for all together
    cutoff.html   the same curves, drawn; the page needs no other file
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
"""Key of the curve of all relations together."""
MIN_SUBJECTS = 5
"""Subjects needed for a cut-off; with fewer there is only a curve."""
NUM_DAYS = 240
"""Points of a curve, at most."""
MONTH_DAYS = 30.4375
"""Mean days in a month."""
NUM_SAMPLES = 1000
"""Samples of the bootstrap."""
SEED = 0
"""Seed of the bootstrap."""
_COUNTED = {"yes": 1.0, "maybe": 0.5, "no": 0.0}

Tenure = tuple[Interval | None, Interval | None]
"""The start and the end of the time for which a value was true; None where one is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A belief about one subject, with the times at which the believed value was true."""

    relation: str
    """Id of the relation."""
    tenures: tuple[Tenure, ...]
    """The times; there may be several, since a value can be true twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A(d) of one relation or of all together. Days are counted from 1970-01-01."""

    relation: str
    """Id of the relation, or `ALL`."""
    label: str
    """Name of the relation, for a person."""
    num_subjects: int
    """Subjects with a dated belief."""
    days: tuple[int, ...]
    """The days d, ascending: [D]."""
    shares: tuple[float, ...]
    """A(d), 0 to 1: [D]."""
    peak: int | None
    """The effective cut-off; None where there are fewer than `MIN_SUBJECTS`."""
    plateau: tuple[int, int] | None
    """First and last day on which A(d) is as great as at the peak."""
    interval: tuple[int, int] | None
    """The 2.5 % and 97.5 % quantiles of the peak over bootstrap samples of the subjects."""


def tenures(change: Change, believed: str) -> tuple[Tenure, ...]:
    """The times at which the value with the believed label was true, as far as the source dates
    them."""
    found: list[Tenure] = []
    if change.new_label is not None and clean_label(change.new_label) == believed:
        found.append((change.since, None))
    dated = zip(change.old_labels, change.old_starts, change.old_ends, strict=False)
    for label, start, end in dated:
        if clean_label(label) == believed:
            found.append((start, end))
    return tuple(tenure for tenure in found if tenure != (None, None))


def as_of(held: Sequence[Tenure], today: int) -> Interval | None:
    """The interval that dates a belief: the last time at which the believed value was true.

    It begins on the earliest day on which that time may have begun, and ends on the latest day on
    which it may have ended, or today. None where the source gives no start.

    held   the times at which the value was true (`tenures`)
    today  days since 1970-01-01
    """
    begun = [(start, end) for start, end in held if start is not None]
    if not begun:
        return None
    start, end = max(begun, key=lambda tenure: tenure[0].earliest if tenure[0] else 0)
    latest = today + 1 if end is None else end.latest
    earliest = start.earliest if start else latest
    return Interval(earliest, max(latest, earliest + 1))


def curves(beliefs: Iterable[Dated], labels: Mapping[str, str], today: int) -> list[Curve]:
    """The curve of all relations together, then one for each relation, sorted by id.

    Beliefs without a date do not count.

    labels  relation id -> its name
    today   the last day of the curves, counted from 1970-01-01
    """
    groups: dict[str, list[Dated]] = {}
    for belief in beliefs:
        if belief.tenures:
            groups.setdefault(ALL, []).append(belief)
            groups.setdefault(belief.relation, []).append(belief)
    order = sorted(groups, key=lambda key: (key != ALL, key))
    names = {**labels, ALL: "all relations"}
    return [_curve(key, names.get(key, key), groups[key], today) for key in order]


def _curve(relation: str, label: str, beliefs: Sequence[Dated], today: int) -> Curve:
    """The curve of some beliefs, with the cut-off if there are enough of them."""
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
        # Not scipy's bootstrap: with a sample written as how often each subject is drawn, one
        # product of matrices sums the curves of all samples.
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
    """The days of a curve, at most `NUM_DAYS`, equally spaced by a month or more.

    They reach from a year before the 10 % quantile of all dates (without dates, from ten years ago)
    until today.
    """
    dated = [day for b in beliefs for tenure in b.tenures for day in _ends(tenure) if day <= today]
    first = int(np.quantile(dated, 0.1, method="lower")) - 365 if dated else today - 3650
    number = min(NUM_DAYS, max(2, round((today - first) / MONTH_DAYS)))
    return np.unique(np.linspace(first, today, number).round().astype(np.int64))


def _ends(tenure: Tenure) -> Iterable[int]:
    """The earliest day of the start and of the end, where these are known."""
    return (interval.earliest for interval in tenure if interval is not None)


def _peak(days_D: np.ndarray, sums_D: np.ndarray) -> tuple[int, tuple[int, int]]:
    """Middle, first and last day of the longest run of days where the sum is greatest."""
    best_D = sums_D >= sums_D.max() - 1e-9
    edges = np.flatnonzero(np.diff(np.concatenate([[0], best_D.astype(int), [0]])))
    runs = list(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))
    first, last = max(runs, key=lambda run: (run[1] - run[0], run[1]))
    return int(days_D[(first + last) // 2]), (int(days_D[first]), int(days_D[last]))


def as_json(found: Sequence[Curve]) -> dict[str, Any]:
    """The content of `cutoff.json`, with days as ISO dates."""
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
    """A day, counted from 1970-01-01, as an ISO date such as `2015-03-04`."""
    return to_iso(Interval(day, day + 1))
