"""What an answer in a chat says, and of what it is compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from case_helpers import answer, answer_set, case, near, value

from infra.lm.question import Answer
from pipeline.evaluate.cases import Case, CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.metrics import chat
from pipeline.evaluate.metrics.chat import plain_messages
from pipeline.evaluate.scoring.metric import Measured

QUESTIONS = ("Which team does x play for?", "What is x's team?", "Which club is x a player of?")


def player(**settings: Any) -> Case:
    return case(**{"questions": QUESTIONS, **settings})


@pytest.mark.parametrize(
    ("said", "right", "old"),
    [
        ("x plays for New Club.", 1, 0),
        ("He is with **NC** now.", 1, 0),
        ("x played for Old Club and now for New Club.", 0, 0),
        ("x plays for Old Club.", 0, 1),
        ("x plays for Old Club United.", 0, 0),
        ("He plays for a new clubhouse.", 0, 0),
        ("x plays for Third Club, not for New Club.", 0, 0),
        ("", 0, 0),
    ],
)
def test_an_answer_names_the_target_anywhere_and_nothing_wrong(
    said: str, right: int, old: int
) -> None:
    """As whole words; an old value or another rival beside it spoils it, and an old value beside
    the target does not count as superseded."""
    fact = player(rivals=("Third Club", "Old Club United"))
    made = chat.score(answer_set({f"chat/x/{i}": answer(said) for i in range(3)}, fact))
    for name in ("chat_reliability", "chat_generality"):
        assert value(made, name) == right
    assert value(made, "chat_superseded") == old


def test_the_subject_is_no_answer() -> None:
    """A name of an answer that is a part of the subject's name is not named by it."""
    team = player(
        subject="Paris Saint-Germain",
        target="Lyon",
        accepted=("Lyon", "Saint"),
        old=("Paris",),
    )
    for said, right, old in (
        ("Paris Saint-Germain is in Lyon.", 1, 0),
        ("Paris Saint-Germain is in France.", 0, 0),
        ("Paris Saint-Germain is in Paris.", 0, 1),
    ):
        made = chat.score(answer_set({"chat/x/0": answer(said)}, team))
        assert (value(made, "chat_reliability"), value(made, "chat_superseded")) == (right, old)


def test_own_and_held_out_questions_are_apart_and_so_are_older_facts() -> None:
    """The first question is of reliability, or of retention; the others are of generality."""
    facts = player(), player(name="y", new=False)
    answers = {
        "chat/x/0": answer("New Club", new=-3.0),
        "chat/x/1": answer("Old Club"),
        "chat/x/2": answer("NC"),
        "chat/y/0": answer("Old Club"),
    }
    made = chat.score(answer_set(answers, *facts))
    assert (value(made, "chat_reliability"), value(made, "chat_retention")) == (1, 0)
    assert value(made, "chat_generality") == 0.5
    assert (value(made, "chat_ES"), value(made, "chat_PS")) == (0, 1)
    assert value(made, "chat_superseded") == pytest.approx((1 / 3 + 1) / 2)
    few = EvaluateConfig(num_paraphrases=1)
    assert {q.id for q in chat.questions(CaseSet("t", facts[:1]), few) if q.candidates} == {
        "chat/x/0",
        "chat/x/1",
    }


def test_answers_of_other_chats_are_the_bases() -> None:
    """Token by token, over the length of each kind; beyond it, what follows does not matter."""
    fact = player(near=(replace(near(), question="Which team does n play for?"),))
    config = EvaluateConfig(agreement_tokens=4, neutral_tokens=8, num_neutral=2)
    asked = [q for q in chat.questions(CaseSet("t", (fact,)), config) if not q.candidates]
    assert {q.id: q.max_new_tokens for q in asked} == {
        "chat-near/x/0": 4,
        "chat-subject/x": 4,
        "chat-plain/0": 8,
        "chat-plain/1": 8,
    }
    assert all(q.chat and q.greedy and q.system is None for q in asked)

    def numbers(after: dict[str, Answer]) -> list[float]:
        base = {q.id: answer("as before it") for q in asked}
        made = chat.score(answer_set({**base, **after}, fact, base=base, config=config))
        return [value(made, f"chat_{name}_agreement") for name in ("near", "subject", "plain")]

    assert numbers({}) == [1, 1, 1]
    assert numbers({"chat-near/x/0": answer("as after it")}) == [0, 1, 1]
    assert numbers({"chat-subject/x": answer("as b")}) == [1, 1, 1]
    assert numbers({"chat-subject/x": answer("as")}) == [1, 0, 1]
    assert numbers({"chat-plain/1": answer("as befit")}) == [1, 1, 0.5]


def test_messages_that_name_an_edited_subject_are_not_plain() -> None:
    """They are left out, and the next ones take their places."""
    config = EvaluateConfig(num_neutral=5)
    every = plain_messages(CaseSet("t", (case(),)), config)
    assert len(every) == len(set(every)) == 5 and "How do I boil an egg?" in every
    fewer = plain_messages(CaseSet("t", (case(subject="an egg"),)), config)
    assert "How do I boil an egg?" not in fewer and len(fewer) == 5


def test_numbers_with_another_system_prompt_are_not_compared() -> None:
    """The protocol says that they are of a chat, and with which system prompt."""
    labels = set()
    for system in (None, "", "Answer with a name.", "Answer in French."):
        answers = answer_set({"chat/x/0": answer("NC")}, player(), system=system)
        found = chat.score(answers)["chat_reliability"]
        assert isinstance(found, Measured) and "/prompt=chat/" in str(found.protocol)
        labels.add(str(found.protocol))
    assert len(labels) == 4
