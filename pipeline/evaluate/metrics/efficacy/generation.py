"""What the model says by itself (WILD, arXiv:2502.11177): raw prompt, greedy, natural stop, target
length unknown.

reliability            the answer to an edit's own prompt begins with the target or an alias of it
reliability_exact      the answer is one of them and nothing else
generality(_exact)     the same over held-out paraphrases
contains               the target is somewhere in the answer: a diagnostic
superseded             an old value is still the answer: of corrected facts, and of those taken out
superseded_paraphrase  the same over paraphrases

The gap between alias and exact is what cannot stop, not what is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from infra.lm.matching import begins_with, contains, is_one_of
from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, form_questions, forms, question_id
from pipeline.evaluate.scoring.metric import measured


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """Every form of every case, to its natural end or until it is settled what it begins with."""
    for case in cases.cases:
        for i, question in enumerate(form_questions(case, config)):
            until = (*case.accepted, *case.old) if i else None
            yield replace(question, greedy=True, until=until)
    for k, query in enumerate(cases.gone):
        yield Question(
            id=question_id("gone", k), prompt=query.prompt, greedy=True, until=query.accepted
        )


def score(answer_set: AnswerSet) -> Scores:
    """All of them, of the edits that are new here; older ones are retention's."""
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
        (question_id("gone", k), begins_with(answer.greedy or "", query.accepted) is not None)
        for k, query in enumerate(answer_set.cases.gone)
        if (answer := answer_set.answers.get(question_id("gone", k)))
    ]
    return {
        "reliability": measured(
            ((c.id, begins_with(text, c.accepted) is not None) for c, text in own), alias
        ),
        "reliability_exact": measured(((c.id, is_one_of(t, c.accepted)) for c, t in own), exact),
        "generality": measured(
            ((c.id, begins_with(text, c.accepted) is not None) for c, text in others), alias
        ),
        "generality_exact": measured(((c.id, is_one_of(t, c.accepted)) for c, t in others), exact),
        "contains": measured(
            ((c.id, contains(text, c.accepted)) for c, text in own),
            answer_set.protocol("greedy", "contains"),
        ),
        "superseded": measured(
            [*((c.id, _says_old(c.old, text)) for c, i, text in corrected if i == 0), *gone], alias
        ),
        "superseded_paraphrase": measured(
            ((c.id, _says_old(c.old, text)) for c, i, text in corrected if i > 0), alias
        ),
    }


def _says_old(old: Iterable[str], text: str) -> bool:
    return begins_with(text, old) is not None
