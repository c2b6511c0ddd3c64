"""Teacher-forced accuracy: is each target token the model's likeliest, given the tokens before it?

TFA             share of the target's tokens that are, on the edit's own prompt
TFA_all         share of edits for which all of the target's tokens are
TFA_paraphrase  TFA on held-out paraphrases

Teacher forcing tells the model the beginning and the length of the answer. Use these numbers only
to compare with published ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, form_questions, forms
from pipeline.evaluate.scoring.metric import measured


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """Every form of every case, with the target to score."""
    for case in cases.cases:
        for question in form_questions(case, config):
            yield replace(question, candidates=(case.target,))


def score(answer_set: AnswerSet) -> Scores:
    """TFA and TFA_all of the edits' own prompts, TFA_paraphrase of their paraphrases."""
    protocol = answer_set.protocol("tf", "token")
    seen = [
        (case.id, i, answer.num_argmax[0], answer.num_tokens[0])
        for case in answer_set.cases.cases
        for i in range(len(forms(case, answer_set.config)))
        if (answer := answer_set.of("edit", case, i)) and answer.num_argmax
    ]
    own = [(case_id, right, total) for case_id, i, right, total in seen if i == 0]
    others = [(case_id, right, total) for case_id, i, right, total in seen if i > 0]
    return {
        "TFA": measured(((i, right / total) for i, right, total in own), protocol),
        "TFA_all": measured(((i, right == total) for i, right, total in own), protocol),
        "TFA_paraphrase": measured(((i, right / total) for i, right, total in others), protocol),
    }
