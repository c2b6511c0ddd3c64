"""Efficacy, paraphrase and neighbourhood scores (MEMIT, arXiv:2210.07229 section 5.2): which answer
has the lower negative log-likelihood a token?

ES   on the edit's own prompt, the target is likelier than every old value and every other rival
PS   the same on held-out paraphrases
NS   for other subjects of the relation, their own object is likelier than the edit's target
S    harmonic mean of the three

These scores compare answers and do not show what the model generates: ES = 1 is possible with
p(target) = 0.001.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean

from infra.lm.question import Answer, Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, form_questions, forms, question_id
from pipeline.evaluate.scoring.metric import Measured, Metric, measured


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """Every form of every case, with target, old values and rivals to score; and every neighbour,
    with its own object and the edit's target."""
    for case in cases.cases:
        candidates = (case.target, *case.old, *case.rivals)
        for question in form_questions(case, config):
            yield replace(question, candidates=candidates)
        for k, query in enumerate(case.near[: config.num_near]):
            if query.accepted and query.rivals:
                yield Question(
                    id=question_id("near", case.id, k),
                    prompt=query.prompt,
                    candidates=(query.accepted[0], *query.rivals),
                )


def score(answer_set: AnswerSet) -> Scores:
    """ES of the new edits, retention_ES of the older ones, PS, NS and S. S is left out where one of
    its parts has no items."""
    protocol = answer_set.protocol("tf", "pref")
    edits = [
        (case, i, answer)
        for case in answer_set.cases.cases
        if case.old or case.rivals
        for i in range(len(forms(case, answer_set.config)))
        if (answer := answer_set.of("edit", case, i)) and len(answer.logprobs) > 1
    ]
    near = [
        (case, answer)
        for case in answer_set.cases.cases
        for k in range(len(case.near))
        if (answer := answer_set.of("near", case, k)) and len(answer.logprobs) > 1
    ]
    scores: dict[str, Measured | Metric] = {
        "ES": measured(
            ((case.id, prefers_first(a)) for case, i, a in edits if i == 0 and case.new), protocol
        ),
        "retention_ES": measured(
            ((case.id, prefers_first(a)) for case, i, a in edits if i == 0 and not case.new),
            protocol,
        ),
        "PS": measured(((case.id, prefers_first(a)) for case, i, a in edits if i > 0), protocol),
        "NS": measured(((case.id, prefers_first(a)) for case, a in near), protocol),
    }
    parts = [scores[name] for name in ("ES", "PS", "NS")]
    means = [
        fmean(part.items.values()) for part in parts if isinstance(part, Measured) and part.items
    ]
    if len(means) == len(parts):
        s = len(means) / sum(1 / mean for mean in means) if all(means) else 0.0
        scores["S"] = Metric(value=s, n=len(answer_set.cases.cases), protocol=str(protocol))
    return scores


def prefers_first(answer: Answer) -> bool:
    """Whether the first candidate has the greatest log-likelihood a token. A tie counts as no."""
    first, *others = (
        total / count for total, count in zip(answer.logprobs, answer.num_tokens, strict=True)
    )
    return first > max(others)
