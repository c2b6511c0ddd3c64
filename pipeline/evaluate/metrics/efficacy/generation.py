"""Accuracy of generated answers (WILD, arXiv:2502.11177): raw prompt, greedy decoding until the
model stops by itself, without knowledge of the target's length.

reliability            share of edits whose own prompt gets an answer that begins with the target or
                       an alias of it
reliability_exact      share of edits whose answer is the target or an alias, and nothing else
generality(_exact)     the same for held-out paraphrases
contains               share of edits whose answer contains the target anywhere; a diagnostic
superseded             share of corrected and of removed facts whose answer still begins with an old
                       value
superseded_paraphrase  the same for paraphrases of corrected facts

An answer that counts for `reliability` but not for `reliability_exact` is known to the model, which
then fails to stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from infra.lm.matching import contains, is_one_of
from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, form_questions, forms, question_id
from pipeline.evaluate.scoring.metric import measured


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """Every form of every case, and the removed facts.

    The edit's own prompt is continued to its natural end, the others only until it is certain which
    of the known answers the continuation begins with.
    """
    for case in cases.cases:
        for i, question in enumerate(form_questions(case, config)):
            until = (*case.accepted, *case.wrong) if i else None
            yield replace(question, greedy=True, until=until)
    for k, query in enumerate(cases.gone):
        yield Question(
            id=question_id("gone", k),
            prompt=query.prompt,
            greedy=True,
            until=(*query.accepted, *query.rivals),
        )


def score(answer_set: AnswerSet) -> Scores:
    """All numbers of this file. Reliability and `contains` cover the edits that are new in this
    edition; the family `retention` covers the older ones."""
    alias, exact = answer_set.protocol("greedy", "alias"), answer_set.protocol("greedy", "exact")
    said = [
        (case, i, answer.greedy or "")
        for case in answer_set.cases.cases
        for i in range(len(forms(case, answer_set.config)))
        if (answer := answer_set.of("edit", case, i)) and answer.greedy is not None
    ]
    own = [(case, text) for case, i, text in said if i == 0 and case.new]
    others = [(case, text) for case, i, text in said if i > 0]
    corrected = [(case, i, text) for case, i, text in said if case.old]
    gone = [
        (question_id("gone", k), query.is_right(answer.greedy or ""))
        for k, query in enumerate(answer_set.cases.gone)
        if (answer := answer_set.answers.get(question_id("gone", k)))
    ]
    return {
        "reliability": measured(((c.id, c.is_right(text)) for c, text in own), alias),
        "reliability_exact": measured(((c.id, is_one_of(t, c.accepted)) for c, t in own), exact),
        "generality": measured(((c.id, c.is_right(text)) for c, text in others), alias),
        "generality_exact": measured(((c.id, is_one_of(t, c.accepted)) for c, t in others), exact),
        "contains": measured(
            ((c.id, contains(text, c.accepted)) for c, text in own),
            answer_set.protocol("greedy", "contains"),
        ),
        "superseded": measured(
            [*((c.id, c.is_superseded(text)) for c, i, text in corrected if i == 0), *gone], alias
        ),
        "superseded_paraphrase": measured(
            ((c.id, c.is_superseded(text)) for c, i, text in corrected if i > 0), alias
        ),
    }
