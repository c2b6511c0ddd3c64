"""Portability of an edit (EasyEdit's survey, arXiv:2305.13172 section 5): questions whose answers
follow from the edited fact.

portability_<kind>  share of questions of a kind that are answered right; kinds are one_hop (a
                    consequence), reversed (the inverse relation), logical and subject_alias

An answer is right if it begins with an accepted one. It is generated; the survey uses teacher
forcing.
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import measured


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """All portability questions of all cases."""
    for case in cases.cases:
        for kind, queries in case.portability.items():
            for k, query in enumerate(queries):
                yield Question(
                    id=question_id("port", case.id, kind, k),
                    prompt=query.prompt,
                    greedy=True,
                    until=(*query.accepted, *query.rivals),
                )


def score(answer_set: AnswerSet) -> Scores:
    """One number for each kind of question."""
    kinds: dict[str, list[tuple[str, float]]] = {}
    for case in answer_set.cases.cases:
        for kind, queries in case.portability.items():
            for k, query in enumerate(queries):
                answer = answer_set.of("port", case, kind, k)
                if answer and answer.greedy is not None:
                    hit = query.is_right(answer.greedy)
                    kinds.setdefault(kind, []).append((case.id, hit))
    protocol = answer_set.protocol("greedy", "alias")
    return {f"portability_{kind}": measured(hits, protocol) for kind, hits in sorted(kinds.items())}
