"""Numbers of an evaluation: each with its count, its interval and the protocol it was taken by.

A `Measured` keeps what was found fact by fact; a `Metric` is its summary. Numbers of different
protocols are never averaged or subtracted: `same_protocol` refuses.
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
    """How a number was taken. Two numbers can be compared only if all of this is the same.

    What belongs to the edited system and not to the measurement (editor, batch, whether the end of
    an answer was trained, the fact in the prompt) is a column of a table instead.
    """

    decode: str
    """greedy, tf (teacher forcing), sample, or none."""
    score: str
    """exact, alias, contains, token, pref, tokens, nll, kl, text, acc, acc_norm, norm,
    ngram-entropy, tf-idf."""
    prompt: str = "raw"
    """raw, chat, or none."""
    when: str = "after-all"
    """after-all edits of the set, or after-each."""
    data: str = ""
    """Name and digest of the questions."""
    more: str = ""
    """Whatever else changes the number: `tokens=6`."""

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
    """Facts (or pieces of text) that it is a mean over."""
    protocol: str
    low: float | None = None
    """95 % interval; None where there is none to give."""
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A quantity fact by fact: means over facts, first within a fact, then across."""

    items: Mapping[str, float]
    """By case id; a case without such a question is left out."""
    protocol: Protocol
    num_questions: int
    """Of all facts together."""
    is_share: bool = True
    """Whether values lie in 0..1 and the interval is Wilson's."""
    combine: Callable[[float], float] = float
    """Applied to the mean and to the ends of its interval, as exp is for perplexity."""

    def metric(self) -> Metric:
        """The mean over facts with its 95 % interval; NaN of no facts, with n 0."""
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
        # Shares within facts vary less than hits and misses do: as many independent questions as
        # give the variance that is seen, no fewer than the facts and no more than the questions.
        effective = round(p * (1 - p) / spread) if spread else n
        return wilson(p, min(max(effective, n), max(self.num_questions, n)))


def measured(
    hits: Iterable[tuple[str, float]], protocol: Protocol, *, is_share: bool = True
) -> Measured:
    """A mean over facts, from (case id, value) pairs, several a case; values of a share are in
    0..1."""
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
    """A quantity group by group, in the groups' order of names; `groups` names each case's."""
    found: dict[str, dict[str, float]] = {}
    for case_id, value in whole.items.items():
        found.setdefault(groups[case_id], {})[case_id] = value
    return {
        group: replace(whole, items=items, num_questions=len(items))
        for group, items in sorted(found.items())
    }


def same_protocol(*protocols: object) -> None:
    """Raise ProtocolError unless all of these are one."""
    labels = sorted(set(map(str, protocols)))
    if len(labels) > 1:
        raise ProtocolError(
            f"numbers taken as {' and as '.join(labels)} cannot be averaged or compared. "
            "Measure both by one protocol."
        )


def difference(a: Measured, b: Measured, subjects: Mapping[str, str]) -> Metric:
    """Mean of a - b over the facts that both have, with the paired bootstrap's 95 % interval.

    `subjects` names each case's subject: facts of one subject stand or fall together and are
    resampled together. Raises ProtocolError for two protocols.
    """
    same_protocol(a.protocol, b.protocol)
    shared = [case_id for case_id in a.items if case_id in b.items]
    changes = [a.items[i] - b.items[i] for i in shared]
    value, (low, high) = paired_bootstrap(changes, [subjects.get(i, i) for i in shared])
    return Metric(value=value, n=len(shared), protocol=str(a.protocol), low=low, high=high)


def pooled(parts: Sequence[Measured]) -> Measured:
    """Several as one. Raises ProtocolError for two protocols, ValueError for a case twice."""
    same_protocol(*(part.protocol for part in parts))
    items: dict[str, float] = {}
    for part in parts:
        if twice := items.keys() & part.items.keys():
            raise ValueError(f"case {min(twice)} is in two of the parts to be pooled")
        items |= part.items
    first = parts[0]
    return Measured(
        items=items,
        protocol=first.protocol,
        num_questions=sum(part.num_questions for part in parts),
        is_share=first.is_share,
        combine=first.combine,
    )
