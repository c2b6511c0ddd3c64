"""Prompts about a subject whose answers are to stay while a value is searched for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from editors.base import Base
from editors.internals.tokens import TokenRow, encode, in_chat
from editors.request import Wording
from editors.values.columns import Column
from editors.values.search import FactRows
from infra.lm.chat import has_template
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question

ABOUT = (
    "{} is",
    "{} was",
    "{} has",
    "{} is known for",
    "{} has been",
    "The name {} refers to",
)
"""Prompts about a subject. They say little of any relation, so that what follows them does not
stand against the edit."""
ABOUT_IN_CHAT = ("Who or what is {}?",)
"""The same as messages in a chat, where the tokenizer has a template."""


def with_kept(base: Base, columns: Sequence[Column], *, tokens: int, chat: bool) -> list[FactRows]:
    """The rows of columns, with those of what the base says of their subjects: that is to stay.

    tokens  of the base's own continuation of each prompt
    chat    whether a message in a chat is among the prompts, where the tokenizer has a template
    """
    in_chats = chat and has_template(base.tokenizer)
    prompts = [
        prompt for column in columns for prompt in _prompts(_subject(column), in_chats=in_chats)
    ]
    questions = [
        Question(
            id="",
            prompt=prompt.text.text,
            chat=prompt.chat,
            greedy=True,
            past_ends=True,
            max_new_tokens=tokens,
        )
        for prompt in prompts
    ]
    answers = LanguageModel(base.model, base.tokenizer).ask(questions)
    rows = [
        prompt.row(base.tokenizer, answer.greedy_ids)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    each = len(rows) // max(1, len(columns))
    return [
        replace(column.fact, kept=tuple(rows[i * each : (i + 1) * each]))
        for i, column in enumerate(columns)
    ]


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt about a subject."""

    text: Wording
    chat: bool
    """Whether it is a user's message in a chat."""

    def row(self, tokenizer: Any, own: Sequence[int]) -> TokenRow:
        """The prompt and what the base says behind it."""
        if self.chat:
            row = in_chat(tokenizer, self.text, "")
        else:
            row = encode(tokenizer, self.text.text, self.text.subject_span)
        return replace(row, ids=(*row.ids, *own), num_target=len(own))


def _prompts(subject: str, *, in_chats: bool) -> Iterator[_Prompt]:
    """All prompts about a subject."""
    for chat, templates in ((False, ABOUT), (True, ABOUT_IN_CHAT if in_chats else ())):
        for template in templates:
            at = template.index("{}")
            text = Wording(template.replace("{}", subject), (at, at + len(subject)))
            yield _Prompt(text, chat)


def _subject(column: Column) -> str:
    """Name of a column's subject, as its first request has it."""
    return column.requests[0].subject
