"""Do facts of earlier batches survive the later ones? By the age of an edit: facts edited after it.

retention           older edits' own prompts, the answer begins with the target (alias)
retention_by_age    the same in bins of age, oldest last: `retention@100-199`
half_life           facts after which half is forgotten: maximum likelihood of Rel(0)·2^(-age/h)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from infra.lm.matching import begins_with
from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, form_questions
from pipeline.evaluate.scoring.metric import Measured, Metric, measured

NUM_BINS = 5


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """Every edit's own prompt."""
    for case in cases.cases:
        own = next(iter(form_questions(case, config)))
        yield replace(own, greedy=True, until=(*case.accepted, *case.old))


def score(answer_set: AnswerSet) -> Scores:
    """Of the edits that are not new, and the curve where there are several batches."""
    protocol = answer_set.protocol("greedy", "alias")
    right = {
        case.id: begins_with(answer.greedy, case.accepted) is not None
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
    """Cases sorted by age in at most `NUM_BINS` parts of about one size; an age is never parted."""
    size = math.ceil(len(known) / NUM_BINS)
    parts: list[list[tuple[int, str]]] = []
    for case in known:
        if parts and (len(parts[-1]) < size or parts[-1][-1][0] == case[0]):
            parts[-1].append(case)
        else:
            parts.append([case])
    return parts


def ages_of(cases: CaseSet) -> Mapping[str, int]:
    """How many facts were edited in later batches, by case."""
    orders = sorted((case.order for case in cases.cases), reverse=True)
    later: dict[int, int] = {}
    for number, order in enumerate(orders):
        later.setdefault(order, number)
    return {case.id: later[case.order] for case in cases.cases}


def half_life(ages: Sequence[int], right: Sequence[bool]) -> float:
    """Age at which half of what was known at age 0 is forgotten, in facts; infinite where the
    likelihood is greatest without any decline.

    Maximum likelihood of p(age) = p0·2^(-age/h) over hits and misses, on a grid of h with p0 at
    its best for each.
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
    """Greatest log-likelihood over p0 at this half-life."""
    decay = [2.0 ** (-age / h) for age in ages]

    def at(p0: float) -> float:
        return sum(
            math.log(max(p0 * d, 1e-12)) if hit else math.log(max(1 - p0 * d, 1e-12))
            for d, hit in zip(decay, right, strict=True)
        )

    return max(at(k / 100) for k in range(1, 101))
