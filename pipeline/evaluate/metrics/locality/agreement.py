"""What must not move, against the unedited model's own answers and not a dataset's.

near_agreement     other subjects of the relation: the first tokens are all the base's
subject_agreement  edited subjects on other relations: the same
neutral_agreement  continuations of general text: the same, 16 tokens
leak               other subjects get the edit's target as their answer

Agreement is the share kept (the survey, arXiv:2310.16218 eq. 4, prints its complement).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infra.lm.matching import begins_with
from infra.lm.question import Question
from pipeline.evaluate.cases import Case, CaseSet
from pipeline.evaluate.config import EvaluateConfig, read_text
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import Measured, measured

NEUTRAL_WORDS = 24
"""Length of a beginning of general text."""


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """Neighbours, edited subjects on other relations, and beginnings of general text."""
    length = config.agreement_tokens
    for case in cases.cases:
        for k, query in enumerate(case.near[: config.num_near]):
            yield Question(
                id=question_id("near", case.id, k),
                prompt=query.prompt,
                greedy=True,
                until=case.accepted,
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
    """All four."""
    near = [
        (case, question_id("near", case.id, k))
        for case in answer_set.cases.cases
        for k in range(len(case.near))
        if question_id("near", case.id, k) in answer_set.answers
    ]
    leaks = [
        (case.id, begins_with(answer_set.answers[key].greedy or "", case.accepted) is not None)
        for case, key in near
    ]
    length = answer_set.config.agreement_tokens
    same = [(case.id, question_id("same", case.id)) for case in answer_set.cases.cases]
    general = [(key, key) for key in answer_set.answers if key.startswith("neutral/")]
    return {
        "near_agreement": _agreement(answer_set, [(case.id, key) for case, key in near], length),
        "subject_agreement": _agreement(answer_set, same, length),
        "neutral_agreement": _agreement(answer_set, general, answer_set.config.neutral_tokens),
        "leak": measured(leaks, answer_set.protocol("greedy", "alias")),
    }


def with_unrelated(cases: CaseSet, config: EvaluateConfig) -> Sequence[Case]:
    """The cases whose subject is asked about on another relation."""
    return [case for case in cases.cases if case.same_subject][: config.num_unrelated]


def unrelated(case: Case) -> str:
    """One prompt about the subject on another relation, another one for another case."""
    place = sum(map(ord, case.id)) % len(case.same_subject)
    return case.same_subject[place].prompt


def neutral(config: EvaluateConfig) -> list[str]:
    """Beginnings of the held-out text's paragraphs."""
    paragraphs = (part.split() for part in read_text(config).split("\n"))
    long = [words for words in paragraphs if len(words) > NEUTRAL_WORDS]
    return [" ".join(words[:NEUTRAL_WORDS]) for words in long[: config.num_neutral]]


def _agreement(answer_set: AnswerSet, asked: Iterable[tuple[str, str]], length: int) -> Measured:
    kept = [
        (
            case_id,
            answer_set.answers[key].greedy_ids[:length] == answer_set.base[key].greedy_ids[:length],
        )
        for case_id, key in asked
        if key in answer_set.answers and key in answer_set.base
    ]
    return measured(kept, answer_set.protocol("greedy", "tokens", f"tokens={length}"))
