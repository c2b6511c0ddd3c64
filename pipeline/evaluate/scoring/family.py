"""A family of metrics: the questions that it asks a model, and how it scores the answers.

A family is a module with the functions `questions` and `score`, listed in `METRICS`. Several
families may ask the same question under the same id; the model is asked it once. Ids have the form
`kind/case/...`, and so name the case that a question is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol as Contract

from infra.files.digest import digest_of
from infra.lm.question import Answer, Question, TextScore
from pipeline.evaluate.cases import Case, CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.metric import Measured, Metric, Protocol


@dataclass(frozen=True, kw_only=True)
class AnswerSet:
    """The answers of one model, and those of the unedited model to the same questions."""

    cases: CaseSet
    config: EvaluateConfig
    answers: Mapping[str, Answer]
    """The model's answers by question id."""
    base: Mapping[str, Answer]
    """The unedited model's answers by question id."""
    texts: Mapping[str, TextScore] = field(default_factory=dict)
    """The model's scores of general text, by text id."""
    system: str | None = None
    """The system prompt of its chats; None where it was left to the template."""

    def protocol(self, decode: str, score: str, more: str = "") -> Protocol:
        """The protocol of a number that is computed from these answers."""
        name = f"{self.cases.name}@{self.cases.digest[:12]}"
        return Protocol(decode=decode, score=score, data=name, more=more)

    def chat_protocol(self, decode: str, score: str, more: str = "") -> Protocol:
        """The protocol of a number that is computed from answers in chats. It has the digest of the
        system prompt, if one was set."""
        system = "" if self.system is None else f"system={digest_of(self.system)[:12]}"
        told = self.protocol(decode, score, "/".join(filter(None, (more, system))))
        return replace(told, prompt="chat")

    def of(self, kind: str, case: Case, *path: object) -> Answer | None:
        """The answer to one question of a case; None where the question was not asked."""
        return self.answers.get(question_id(kind, case.id, *path))


Scores = Mapping[str, Measured | Metric]
"""Numbers of one model, by metric name."""


class Family(Contract):
    """The two functions of a module of `pipeline.evaluate.metrics`."""

    def questions(self, cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
        """Questions that this family asks every model."""
        ...

    def score(self, answer_set: AnswerSet) -> Scores:
        """The family's numbers by name, computed from the questions that were asked."""
        ...


def question_id(kind: str, *path: object) -> str:
    """Id of a question: kind and path joined by `/`.

    `edit/<case>/0` is the edit's own prompt, `edit/<case>/1` its first paraphrase.
    """
    return "/".join(map(str, (kind, *path)))


def case_of(question: str) -> str:
    """Id of the case that a question is about, from the question's id."""
    return question.split("/")[1]


def merged(questions: Iterable[Question]) -> list[Question]:
    """The questions with each id once. A question that several families ask has the requests of
    all.

    Raises ValueError where two questions of one id differ in their prompt or `past_ends`, or have
    candidates of which neither list begins with the other.
    """
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
    """The case's own prompt, then at most `num_paraphrases` of its paraphrases."""
    return (case.prompt, *case.paraphrases[: config.num_paraphrases])


def form_questions(case: Case, config: EvaluateConfig) -> Iterable[Question]:
    """A question for each form of the case; families add candidates or a continuation to it."""
    for i, prompt in enumerate(forms(case, config)):
        yield Question(id=question_id("edit", case.id, i), prompt=prompt)
