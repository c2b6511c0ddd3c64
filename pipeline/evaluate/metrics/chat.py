"""What the model says in a chat: messages through the tokenizer's template, with the system prompt
as it is served. An answer is generated up to the end of its turn, or `chat_tokens` tokens.

chat_reliability        share of edits whose own question gets an answer that names the target or an
                        alias of it, as whole words, and no wrong answer
chat_retention          the same for edits of earlier editions
chat_generality         the same for held-out questions, of all edits
chat_superseded         share of questions about corrected facts whose answer names an old value and
                        not the target
chat_ES, chat_PS        share of own and of held-out questions after which the target is likelier, a
                        token, than every old value and every other rival
chat_near_agreement     share of questions about other subjects of the relation whose answers begin
                        with the same `agreement_tokens` tokens as the unedited model's
chat_subject_agreement  the same for requests to tell about an edited subject
chat_plain_agreement    the same for messages that name no edited subject, over `neutral_tokens`

These have the counterparts reliability, generality, superseded, ES, PS, near_agreement,
subject_agreement and neutral_agreement, which are of texts that the model goes on with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from infra.lm.matching import contains
from infra.lm.question import Question
from pipeline.evaluate.cases import Case, CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.metrics.efficacy.preference import prefers_first
from pipeline.evaluate.metrics.locality.agreement import agreement
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import measured

ASKED, NEAR, SUBJECT, PLAIN = "chat", "chat-near", "chat-subject", "chat-plain"
"""Kinds of questions: about an edit, a neighbour, an edited subject, and about none of these."""
MESSAGES = Path(__file__).parents[1] / "texts" / "messages.txt"
"""Messages to a chat model that name nobody, one a line."""


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """The questions of every case with the answers to score, the questions about its neighbours,
    requests to tell about edited subjects, and messages that name none of them."""
    for case in cases.cases:
        for i, message in enumerate(_messages(case, config)):
            yield Question(
                id=question_id(ASKED, case.id, i),
                prompt=message,
                chat=True,
                candidates=(case.target, *case.wrong),
                greedy=True,
                max_new_tokens=config.chat_tokens,
            )
        for k, query in enumerate(case.near[: config.num_near]):
            if query.question:
                key = question_id(NEAR, case.id, k)
                yield _begun(key, query.question, config.agreement_tokens)
    for case in cases.cases[: config.num_unrelated]:
        key = question_id(SUBJECT, case.id)
        message = f"What can you tell me about {case.subject}?"
        yield _begun(key, message, config.agreement_tokens)
    for k, message in enumerate(plain_messages(cases, config)):
        yield _begun(question_id(PLAIN, k), message, config.neutral_tokens)


def score(answer_set: AnswerSet) -> Scores:
    """All numbers of this file, from the questions that were asked."""
    alias, pref = (
        answer_set.chat_protocol("greedy", "alias", f"tokens={answer_set.config.chat_tokens}"),
        answer_set.chat_protocol("tf", "pref"),
    )
    answers = [
        (case, i, answer)
        for case in answer_set.cases.cases
        for i in range(len(_messages(case, answer_set.config)))
        if (answer := answer_set.of(ASKED, case, i))
    ]
    said = [(case, i, answer.greedy or "") for case, i, answer in answers]
    own = [(case, case.names_target(text)) for case, i, text in said if i == 0]
    compared = [(c, i, prefers_first(a)) for c, i, a in answers if len(a.logprobs) > 1]
    return {
        "chat_reliability": measured(((c.id, hit) for c, hit in own if c.new), alias),
        "chat_retention": measured(((c.id, hit) for c, hit in own if not c.new), alias),
        "chat_generality": measured(
            ((c.id, c.names_target(text)) for c, i, text in said if i > 0), alias
        ),
        "chat_superseded": measured(
            ((c.id, c.names_old(text)) for c, _, text in said if c.old), alias
        ),
        "chat_ES": measured(((c.id, hit) for c, i, hit in compared if i == 0 and c.new), pref),
        "chat_PS": measured(((c.id, hit) for c, i, hit in compared if i > 0), pref),
        **_agreements(answer_set),
    }


def plain_messages(cases: CaseSet, config: EvaluateConfig) -> list[str]:
    """The first `num_neutral` messages that name no edited subject."""
    subjects = {case.subject for case in cases.cases}
    lines = MESSAGES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not contains(line, subjects)][: config.num_neutral]


def _agreements(answer_set: AnswerSet) -> Scores:
    config = answer_set.config
    asked: dict[str, list[tuple[str, str]]] = {NEAR: [], SUBJECT: [], PLAIN: []}
    for key in answer_set.answers:
        kind, item, *_ = key.split("/")
        if kind in asked:
            asked[kind].append((key if kind == PLAIN else item, key))
    return {
        name: agreement(
            answer_set,
            asked[kind],
            length,
            answer_set.chat_protocol("greedy", "tokens", f"tokens={length}"),
        )
        for name, kind, length in (
            ("chat_near_agreement", NEAR, config.agreement_tokens),
            ("chat_subject_agreement", SUBJECT, config.agreement_tokens),
            ("chat_plain_agreement", PLAIN, config.neutral_tokens),
        )
    }


def _messages(case: Case, config: EvaluateConfig) -> Sequence[str]:
    """The case's own question, then at most `num_paraphrases` of those held out."""
    return case.questions[: 1 + config.num_paraphrases]


def _begun(key: str, message: str, length: int) -> Question:
    """A message, and the beginning of its answer."""
    return Question(
        id=key,
        prompt=message,
        chat=True,
        greedy=True,
        until=(),
        min_new_tokens=length,
        max_new_tokens=length,
    )
