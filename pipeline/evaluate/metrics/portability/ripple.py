"""The tests of RippleEdits (arXiv:2307.12976 section 3), on generated answers: does the model know
the consequences of an edit, and are other facts unchanged?

ripple_<kind>           share of the tests of a kind that pass, of those that count: mean within a
                        fact, then over facts
ripple_<kind>_executed  share of the tests of a kind that count

A test counts if the unedited model passes all its conditions and the edited model answers the
edit's own prompt right. A query passes if the continuation contains all its targets, each by any
alias, as whole words. A test passes if all of its queries pass, or one of them, as the test says.

The authors' code searches prompt and continuation together, and passes a number of characters as
the limit of tokens. Here the continuation alone is searched, to its natural end or 32 tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from infra.lm.matching import contains
from infra.lm.question import Answer, Question
from pipeline.evaluate.cases import Case, CaseSet, Criterion
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, form_questions, question_id
from pipeline.evaluate.scoring.metric import Measured, Metric, measured

NUM_TOKENS = 32
"""Tokens of a continuation, at most."""
Target = tuple[tuple[str, ...], ...]
"""Targets that an answer must all contain, each by one or more of its aliases."""


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """For every case with criteria: the edit's own prompt, and every query and condition."""
    for case in cases.cases:
        if not case.criteria:
            continue
        own = next(iter(form_questions(case, config)))
        yield replace(own, greedy=True, until=(*case.accepted, *case.wrong))
        for n, criterion in enumerate(case.criteria):
            for part, (prompt, _) in _parts(criterion).items():
                yield Question(
                    id=question_id("ripple", case.id, n, part),
                    prompt=prompt,
                    greedy=True,
                    max_new_tokens=NUM_TOKENS,  # a target may come late, so no word can end it
                )


def score(answer_set: AnswerSet) -> Scores:
    """Two numbers for each kind, over the tests whose questions were all asked."""
    passed: dict[str, list[tuple[str, float]]] = {}
    counted: dict[str, list[tuple[str, float]]] = {}
    for case in answer_set.cases.cases:
        edit = answer_set.of("edit", case, 0)
        if edit is None or edit.greedy is None:
            continue
        is_edited = case.is_right(edit.greedy)
        for n, criterion in enumerate(case.criteria):
            if not _is_asked(answer_set, case, n, criterion):
                continue
            counts = is_edited and all(_pass(answer_set.base, case, n, criterion, "c"))
            counted.setdefault(criterion.kind, []).append((case.id, counts))
            if counts:
                hits = _pass(answer_set.answers, case, n, criterion, "q")
                hit = all(hits) if criterion.all_of else any(hits)
                passed.setdefault(criterion.kind, []).append((case.id, hit))
    protocol = answer_set.protocol("greedy", "contains", f"tokens={NUM_TOKENS}")
    scores: dict[str, Measured | Metric] = {}
    for kind in sorted(counted):
        scores[f"ripple_{kind}"] = measured(passed.get(kind, ()), protocol)
        scores[f"ripple_{kind}_executed"] = measured(counted[kind], protocol)
    return scores


def _parts(criterion: Criterion) -> Mapping[str, tuple[str, Target]]:
    """Queries by `q0`, `q1`... and conditions by `c0`, `c1`... Those without a target are left out:
    any answer would pass them."""
    sides = (("q", criterion.queries), ("c", criterion.conditions))
    return {f"{side}{k}": q for side, queries in sides for k, q in enumerate(queries) if q[1]}


def _is_asked(answer_set: AnswerSet, case: Case, n: int, criterion: Criterion) -> bool:
    """Whether the criterion has a query, and every query and condition has an answer."""
    parts = _parts(criterion)
    keys = {part: question_id("ripple", case.id, n, part) for part in parts}
    return any(part.startswith("q") for part in parts) and all(
        key in (answer_set.answers if part.startswith("q") else answer_set.base)
        for part, key in keys.items()
    )


def _pass(
    answers: Mapping[str, Answer], case: Case, n: int, criterion: Criterion, side: str
) -> list[bool]:
    """For each query (side `q`) or condition (side `c`): does its answer contain all targets?"""
    return [
        all(
            contains(answers[question_id("ripple", case.id, n, part)].greedy or "", names)
            for names in target
        )
        for part, (_, target) in _parts(criterion).items()
        if part.startswith(side)
    ]
