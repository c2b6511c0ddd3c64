"""Retention: does the model still know the facts of earlier batches after later batches?

The age of an edit is the number of facts edited in later batches.

retention       share of older edits whose own prompt gets an answer that begins with the target or
                an alias of it
retention@A-B   the same for all edits of age A to B, in at most five bins of age
half_life       age h in facts at which half is forgotten: maximum likelihood of p(age) =
                p0·2^(-age/h)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, form_questions
from pipeline.evaluate.scoring.metric import Measured, Metric, measured

NUM_BINS = 5
"""Bins of age, at most."""


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """The own prompt of every edit."""
    for case in cases.cases:
        own = next(iter(form_questions(case, config)))
        yield replace(own, greedy=True, until=(*case.accepted, *case.wrong))


def score(answer_set: AnswerSet) -> Scores:
    """`retention` of the older edits; where there are several batches, bins and half-life too."""
    protocol = answer_set.protocol("greedy", "alias")
    right = {
        case.id: case.is_right(answer.greedy)
        for case in answer_set.cases.cases
        if (answer := answer_set.of("edit", case, 0)) and answer.greedy is not None
    }
    old = [
        (case.id, right[case.id])
        for case in answer_set.cases.cases
        if not case.new and case.id in right
    ]
    scores: dict[str, Measured | Metric] = {"retention": measured(old, protocol)}
    ages = ages_of(answer_set.cases)
    if len(set(ages.values())) < 2:
        return scores
    known = sorted((ages[case_id], case_id) for case_id in right)
    for part in bins(known):
        scores[f"retention@{part[0][0]}-{part[-1][0]}"] = measured(
            ((case_id, right[case_id]) for _, case_id in part), protocol
        )
    h = half_life([age for age, _ in known], [right[case_id] for _, case_id in known])
    scores["half_life"] = Metric(value=h, n=len(known), protocol=str(protocol))
    return scores


def bins(known: Sequence[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """(age, case id) pairs, which come sorted by age, in at most `NUM_BINS` bins of about equal
    size. Cases of one age are in one bin."""
    size = math.ceil(len(known) / NUM_BINS)
    parts: list[list[tuple[int, str]]] = []
    for case in known:
        if parts and (len(parts[-1]) < size or parts[-1][-1][0] == case[0]):
            parts[-1].append(case)
        else:
            parts.append([case])
    return parts


def ages_of(cases: CaseSet) -> Mapping[str, int]:
    """The age of each case by its id: the number of facts edited in later batches."""
    orders = sorted((case.order for case in cases.cases), reverse=True)
    later: dict[int, int] = {}
    for number, order in enumerate(orders):
        later.setdefault(order, number)
    return {case.id: later[case.order] for case in cases.cases}


def half_life(ages: Sequence[int], right: Sequence[bool]) -> float:
    """Age in facts at which half of the facts known at age 0 are forgotten.

    `right` says of each fact whether it is answered right, `ages` its age. The result is the h of
    greatest likelihood under p(age) = p0·2^(-age/h), on a grid of h with the best p0 for each. It
    is infinite where no decline fits better, and 0 where no fact is answered right.
    """
    oldest = max(ages, default=0)
    if not oldest or all(right) or not any(right):
        return math.inf if any(right) else 0.0
    candidates = [oldest * 10 ** (k / 20 - 2) for k in range(121)]  # oldest/100 .. oldest*10^4
    best = max(candidates, key=lambda h: _likelihood(ages, right, h))
    flat = _likelihood(ages, right, math.inf)
    return (
        best if _likelihood(ages, right, best) > flat + 1e-9 and best < candidates[-1] else math.inf
    )


def _likelihood(ages: Sequence[int], right: Sequence[bool], h: float) -> float:
    """The greatest log-likelihood over p0 at half-life h."""
    decay = [2.0 ** (-age / h) for age in ages]

    def at(p0: float) -> float:
        return sum(
            math.log(max(p0 * d, 1e-12)) if hit else math.log(max(1 - p0 * d, 1e-12))
            for d, hit in zip(decay, right, strict=True)
        )

    return max(at(k / 100) for k in range(1, 101))
