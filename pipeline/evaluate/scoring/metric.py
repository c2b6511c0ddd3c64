"""Numbers of an evaluation, each with its count, its interval and its measurement protocol.

A `Measured` has a value for each fact; a `Metric` is its summary. Numbers of different protocols
are never averaged or subtracted: `same_protocol` raises ProtocolError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

from infra.errors import ProtocolError
from pipeline.evaluate.scoring.intervals import Interval, paired_bootstrap, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a number was measured. Two numbers can be compared only if all fields are equal.

    Properties of the edited system (editor, batch, whether the end of an answer was trained,
    whether the fact is in the prompt) are no part of it: tables show them in columns.
    """

    decode: str
    """How answers are generated: greedy, tf (teacher forcing), sample, or none."""
    score: str
    """How answers are scored: exact, alias, contains, token, pref, tokens, nll, kl, text, acc,
    acc_norm, norm, ngram-entropy, tf-idf."""
    prompt: str = "raw"
    """Form of the prompt: raw, chat, or none."""
    when: str = "after-all"
    """after-all: after all edits of the set; after-each: after each edit."""
    data: str = ""
    """Name and digest of the questions."""
    more: str = ""
    """Further settings that change the number, such as `tokens=6`."""

    def __str__(self) -> str:
        parts = {
            "decode": self.decode,
            "prompt": self.prompt,
            "score": self.score,
            "when": self.when,
            "data": self.data,
        }
        label = "/".join(f"{key}={value}" for key, value in parts.items() if value)
        return f"{label}/{self.more}" if self.more else label


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number, as it is reported."""

    value: float
    n: int
    """Number of facts (or pieces of text) that the value summarises."""
    protocol: str
    """The `Protocol` as a string."""
    low: float | None = None
    """Lower end of the 95 % interval; None where the metric has no interval."""
    high: float | None = None
    """Upper end of the 95 % interval; None where the metric has no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A quantity with one value for each fact: the mean over the questions about the fact."""

    items: Mapping[str, float]
    """Values by case id. A case without such a question is left out."""
    protocol: Protocol
    num_questions: int
    """Number of questions, over all facts."""
    is_share: bool = True
    """Whether values are shares in 0..1. Their interval is Wilson's, that of others is normal."""
    combine: Callable[[float], float] = float
    """Function applied to the mean and to the ends of its interval, such as exp for perplexity."""

    def metric(self) -> Metric:
        """The mean over facts with its 95 % interval. Without facts it is NaN, with n = 0."""
        values = list(self.items.values())
        if not values:
            return Metric(value=math.nan, n=0, protocol=str(self.protocol))
        low, high = self._interval(values)
        return Metric(
            value=self.combine(fmean(values)),
            n=len(values),
            protocol=str(self.protocol),
            low=self.combine(low),
            high=self.combine(high),
        )

    def _interval(self, values: Sequence[float]) -> Interval:
        p, n = fmean(values), len(values)
        spread = variance(values) / n if n > 1 else 0.0
        if not self.is_share:
            half = 1.96 * math.sqrt(spread)
            return p - half, p + half
        # Shares within facts vary less than single hits and misses. The effective n is the number
        # of independent questions that would have the observed variance, at least the number of
        # facts and at most the number of questions.
        effective = round(p * (1 - p) / spread) if spread else n
        return wilson(p, min(max(effective, n), max(self.num_questions, n)))


def measured(
    hits: Iterable[tuple[str, float]], protocol: Protocol, *, is_share: bool = True
) -> Measured:
    """A quantity from (case id, value) pairs. A case may have several; its value is their mean.

    Values are in 0..1 where `is_share` is True.
    """
    by_case: dict[str, list[float]] = {}
    for case_id, value in hits:
        by_case.setdefault(case_id, []).append(float(value))
    return Measured(
        items={case_id: fmean(values) for case_id, values in by_case.items()},
        protocol=protocol,
        num_questions=sum(map(len, by_case.values())),
        is_share=is_share,
    )


def parts(whole: Measured, groups: Mapping[str, str]) -> dict[str, Measured]:
    """A quantity split by group, sorted by name. `groups` gives the group of each case id."""
    found: dict[str, dict[str, float]] = {}
    for case_id, value in whole.items.items():
        found.setdefault(groups[case_id], {})[case_id] = value
    return {
        group: replace(whole, items=items, num_questions=len(items))
        for group, items in sorted(found.items())
    }


def same_protocol(*protocols: object) -> None:
    """Raise ProtocolError unless all protocols are equal. Each is a `Protocol` or its string."""
    labels = sorted(set(map(str, protocols)))
    if len(labels) > 1:
        raise ProtocolError(
            f"numbers taken as {' and as '.join(labels)} cannot be averaged or compared. "
            "Measure both by one protocol."
        )


def difference(a: Measured, b: Measured, subjects: Mapping[str, str]) -> Metric:
    """Mean of a - b over the facts that both have, with the 95 % interval of the paired bootstrap.

    `subjects` gives the subject of each case id: facts of one subject are not independent and are
    resampled together. Raises ProtocolError where the protocols differ.
    """
    same_protocol(a.protocol, b.protocol)
    shared = [case_id for case_id in a.items if case_id in b.items]
    changes = [a.items[i] - b.items[i] for i in shared]
    value, (low, high) = paired_bootstrap(changes, [subjects.get(i, i) for i in shared])
    return Metric(value=value, n=len(shared), protocol=str(a.protocol), low=low, high=high)
