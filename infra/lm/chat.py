"""A message of a chat as the text that a model is given, by the tokenizer's own template.

Templates with a date are given the same one on every day, so that a message is always the same
text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from infra.errors import ModelError

DAY = {
    **{"%Y": "2024", "%y": "24", "%m": "07", "%d": "26", "%e": "26", "%b": "Jul", "%B": "July"},
    **{"%A": "Friday", "%a": "Fri", "%H": "12", "%M": "00", "%S": "00", "%j": "208"},
}
"""The day that a template with a date is given, by the codes of `strftime`: the one that Llama
3.1's own template falls back to."""
_FIXED_DAY = (
    "{% macro strftime_now(form) %}{{ form"
    + "".join(f" | replace('{code}', '{value}')" for code, value in DAY.items())
    + " }}{% endmacro %}\n"
)
"""Put before a template, it takes the place of the clock: transformers hands a template no function
of a caller's."""


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """The text before the answer to a message. It has all special tokens in it: a tokenizer must
    add none, and the answer follows it without a space."""

    text: str
    start: int
    """Index of the message's first character in `text`."""


def has_template(tokenizer: Any) -> bool:
    """Whether the tokenizer has a template for chats, as those of instruct models do."""
    return bool(getattr(tokenizer, "chat_template", None))


def as_chat(tokenizer: Any, message: str, *, system: str | None = None) -> ChatPrompt:
    """The text that a model is given when a user begins a chat with `message`.

    system  the system prompt; None leaves it to the template, which may have one of its own

    Raises ModelError where the tokenizer has no template, or it cannot be filled with these.
    """
    asked = message.strip()
    before = [] if system is None else [{"role": "system", "content": system}]
    for content in (asked, [{"type": "text", "text": asked}]):
        text = _filled(tokenizer, [*before, {"role": "user", "content": content}], begun=True)
        if (start := text.rfind(asked)) >= 0:
            return ChatPrompt(text, start)
    raise ModelError(
        f"the chat template of {type(tokenizer).__name__} leaves out the user's message "
        f"{asked!r}. Give a template that puts a message in as it is."
    )


def answer_end(tokenizer: Any) -> int | None:
    """Id of the token that ends an answer in a chat: the one that the template puts behind an
    answer, else the tokenizer's end-of-sequence token; None where there is neither."""
    answer = "Yes"
    turns = [{"role": "user", "content": "Yes?"}, {"role": "assistant", "content": answer}]
    text = _filled(tokenizer, turns, begun=False)
    behind = text[text.rfind(answer) + len(answer) :]
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    ends = {*tokenizer.added_tokens_decoder}
    return next((i for i in ids if i in ends), tokenizer.eos_token_id)


def _filled(tokenizer: Any, turns: list[Any], *, begun: bool) -> str:
    """The template filled with the turns of a chat.

    begun  whether the beginning of the next answer is put behind them
    """
    try:
        return tokenizer.apply_chat_template(
            turns,
            chat_template=_FIXED_DAY + tokenizer.get_chat_template(),
            tokenize=False,
            add_generation_prompt=begun,
        )
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        said = " ".join(str(error).split())
        raise ModelError(
            f"the chat template of {type(tokenizer).__name__} cannot be filled: {said}. "
            "Give a template of Jinja that takes the roles user, assistant and, if a system prompt "
            "is set, system."
        ) from error
