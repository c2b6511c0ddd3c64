"""Locality by agreement: does the edited model give the same answers as the unedited one?

The reference is the unedited model's answer, not a dataset's.

near_agreement     share of prompts on other subjects of the relation whose first
                   `agreement_tokens` answer tokens all equal the base model's
subject_agreement  the same for edited subjects on other relations
neutral_agreement  the same for continuations of general text, over `neutral_tokens` tokens
leak               share of prompts on other subjects that are answered with the edit's target

The survey (arXiv:2310.16218 eq. 4) prints 1 - agreement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infra.lm.matching import begins_with
from infra.lm.question import Question
from pipeline.evaluate.cases import Case, CaseSet
from pipeline.evaluate.config import EvaluateConfig, read_text
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import Measured, Protocol, measured

NEUTRAL_WORDS = 24
"""Words of a paragraph that make the prompt for its continuation."""


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """Neighbours, edited subjects on other relations, and paragraph beginnings of general text."""
    length = config.agreement_tokens
    for case in cases.cases:
        for k, query in enumerate(case.near[: config.num_near]):
            yield Question(
                id=question_id("near", case.id, k),
                prompt=query.prompt,
                greedy=True,
                until=(*case.accepted, *query.accepted),
                min_new_tokens=length,
            )
    for case in with_unrelated(cases, config):
        yield Question(
            id=question_id("same", case.id),
            prompt=unrelated(case),
            greedy=True,
            until=(),
            min_new_tokens=length,
        )
    for k, prompt in enumerate(neutral(config)):
        yield Question(
            id=question_id("neutral", k),
            prompt=prompt,
            greedy=True,
            until=(),
            min_new_tokens=config.neutral_tokens,
            max_new_tokens=config.neutral_tokens,
        )


def score(answer_set: AnswerSet) -> Scores:
    """All four numbers, from the questions that were asked."""
    answers = answer_set.answers
    near = [
        (case, query, question_id("near", case.id, k))
        for case in answer_set.cases.cases
        for k, query in enumerate(case.near)
        if question_id("near", case.id, k) in answers
    ]
    leaks = [
        (case.id, begins_with(answers[key].greedy or "", case.accepted, query.accepted) is not None)
        for case, query, key in near
    ]
    length = answer_set.config.agreement_tokens
    same = [(case.id, question_id("same", case.id)) for case in answer_set.cases.cases]
    general = [(key, key) for key in answer_set.answers if key.startswith("neutral/")]
    return {
        "near_agreement": _agreement(answer_set, [(case.id, key) for case, _, key in near], length),
        "subject_agreement": _agreement(answer_set, same, length),
        "neutral_agreement": _agreement(answer_set, general, answer_set.config.neutral_tokens),
        "leak": measured(leaks, answer_set.protocol("greedy", "alias")),
    }


def with_unrelated(cases: CaseSet, config: EvaluateConfig) -> Sequence[Case]:
    """The first `num_unrelated` cases that have prompts on other relations of their subject."""
    return [case for case in cases.cases if case.same_subject][: config.num_unrelated]


def unrelated(case: Case) -> str:
    """One prompt about the case's subject on another relation.

    The case's id selects it, so that the cases of a set do not all ask about the same relation.
    """
    place = sum(map(ord, case.id)) % len(case.same_subject)
    return case.same_subject[place].prompt


def neutral(config: EvaluateConfig) -> list[str]:
    """The first 24 words of `num_neutral` longer paragraphs of the held-out text."""
    paragraphs = (part.split() for part in read_text(config).split("\n"))
    long = [words for words in paragraphs if len(words) > NEUTRAL_WORDS]
    return [" ".join(words[:NEUTRAL_WORDS]) for words in long[: config.num_neutral]]


def agreement(
    answer_set: AnswerSet, asked: Iterable[tuple[str, str]], length: int, protocol: Protocol
) -> Measured:
    """The share of continuations whose first `length` tokens all equal the unedited model's.

    asked  pairs of the item that an answer belongs to, and the id of its question; a question that
           one of the two models was not asked is left out
    """
    kept = [
        (
            case_id,
            answer_set.answers[key].greedy_ids[:length] == answer_set.base[key].greedy_ids[:length],
        )
        for case_id, key in asked
        if key in answer_set.answers and key in answer_set.base
    ]
    return measured(kept, protocol)


def _agreement(answer_set: AnswerSet, asked: Iterable[tuple[str, str]], length: int) -> Measured:
    protocol = answer_set.protocol("greedy", "tokens", f"tokens={length}")
    return agreement(answer_set, asked, length, protocol)
