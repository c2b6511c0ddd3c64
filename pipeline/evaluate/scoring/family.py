"""What a family of metrics is: the questions it wants put to a model, and the scoring of answers.

A family is a module with two functions, listed in `METRICS`. Families may want the same question,
under the same id; it is asked once. Ids are `kind/case/...`: whose question it is can be read off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol as Contract

from infra.lm.question import Answer, Question, TextScore
from pipeline.evaluate.cases import Case, CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.metric import Measured, Metric, Protocol


@dataclass(frozen=True, kw_only=True)
class AnswerSet:
    """What one model said to all questions, and what the unedited one said to the same."""

    cases: CaseSet
    config: EvaluateConfig
    answers: Mapping[str, Answer]
    base: Mapping[str, Answer]
    texts: Mapping[str, TextScore] = field(default_factory=dict)
    base_texts: Mapping[str, TextScore] = field(default_factory=dict)

    def protocol(self, decode: str, score: str, more: str = "") -> Protocol:
        """The label of what is taken here."""
        name = f"{self.cases.name}@{self.cases.digest[:12]}"
        return Protocol(decode=decode, score=score, data=name, more=more)

    def of(self, kind: str, case: Case, *path: object) -> Answer | None:
        """The answer to one question of a case, if it was asked."""
        return self.answers.get(question_id(kind, case.id, *path))


Scores = Mapping[str, Measured | Metric]


class Family(Contract):
    """A module of `pipeline.evaluate.metrics`."""

    def questions(self, cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
        """What every model is to be asked."""
        ...

    def score(self, answer_set: AnswerSet) -> Scores:
        """Numbers by name, of those whose questions were asked."""
        ...


def question_id(kind: str, *path: object) -> str:
    """`edit/<case>/0` is an edit's own prompt, `edit/<case>/1` its first paraphrase."""
    return "/".join(map(str, (kind, *path)))


def case_of(question: str) -> str:
    """Id of the case that a question is about."""
    return question.split("/")[1]


def merged(questions: Iterable[Question]) -> list[Question]:
    """Each id once, with all that is wanted of it. Prompts of one id are one prompt."""
    by_id: dict[str, Question] = {}
    for question in questions:
        seen = by_id.get(question.id)
        by_id[question.id] = _both(seen, question) if seen else question
    return list(by_id.values())


def _both(one: Question, two: Question) -> Question:
    if one.prompt != two.prompt:
        raise ValueError(f"question {one.id} is both {one.prompt!r} and {two.prompt!r}")
    if one.past_ends != two.past_ends:
        raise ValueError(f"question {one.id} is to stop at an end, and not to")
    longer, shorter = sorted((one.candidates, two.candidates), key=len, reverse=True)
    if longer[: len(shorter)] != shorter:
        raise ValueError(f"question {one.id} is to be scored on {longer} and on {shorter}")
    ends = [q.until for q in (one, two) if q.greedy]
    until = None if None in ends else tuple(dict.fromkeys(n for names in ends for n in names or ()))
    limits = [q.max_new_tokens for q in (one, two) if q.greedy]
    return replace(
        one,
        candidates=longer,
        greedy=one.greedy or two.greedy,
        until=until if ends else one.until,
        min_new_tokens=max(one.min_new_tokens, two.min_new_tokens),
        max_new_tokens=None if None in limits else max(filter(None, limits), default=None),
    )


def forms(case: Case, config: EvaluateConfig) -> Sequence[str]:
    """The case's own prompt, then its paraphrases."""
    return (case.prompt, *case.paraphrases[: config.num_paraphrases])


def form_questions(case: Case, config: EvaluateConfig) -> Iterable[Question]:
    """The case's forms, unscored and unanswered."""
    for i, prompt in enumerate(forms(case, config)):
        yield Question(id=question_id("edit", case.id, i), prompt=prompt)
