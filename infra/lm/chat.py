"""A message of a chat as the text that a model is given, by the tokenizer's own template.

Templates with a date are given the same one on every day, so that a message is always the same
text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

CALLED = {"system": "system prompt", "user": "user's message", "assistant": "answer"}
"""Role in a chat -> what its text is called."""


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """The text before the answer to a message. It has all special tokens in it: a tokenizer must
    add none, and the answer follows it without a space."""

    text: str
    start: int
    """Index of the message's first character in `text`."""


def has_template(tokenizer: Any) -> bool:
    """Whether the tokenizer has a template for chats, as those of instruct models do."""
    return bool(chat_template(tokenizer))


def chat_template(tokenizer: Any) -> str:
    """The tokenizer's template for chats; empty where it has none."""
    template = getattr(tokenizer, "chat_template", None)
    return (template.get("default") if isinstance(template, dict) else template) or ""


def as_chat(tokenizer: Any, message: str, *, system: str | None = None) -> ChatPrompt:
    """The text that a model is given when a user begins a chat with `message`.

    system  the system prompt; None leaves it to the template, which may have one of its own

    Raises ModelError where the tokenizer has no template, or it cannot be filled with these.
    """
    asked = message.strip()
    before = [] if system is None else [("system", system.strip())]
    text = _filled(tokenizer, [*before, ("user", asked)], begun=True)
    return ChatPrompt(text, text.rfind(asked))


def answer_end(tokenizer: Any) -> int | None:
    """Id of the token that ends an answer in a chat: the one that the template puts behind an
    answer, else the tokenizer's end-of-sequence token; None where there is neither."""
    answer = "Yes"
    text = _filled(tokenizer, [("user", "Is it?"), ("assistant", answer)], begun=False)
    behind = text[text.rfind(answer) + len(answer) :]
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    ends = {*tokenizer.added_tokens_decoder}
    return next((i for i in ids if i in ends), tokenizer.eos_token_id)


def _filled(tokenizer: Any, turns: Sequence[tuple[str, str]], *, begun: bool) -> str:
    """The template filled with the roles and texts of a chat, each text as it is or, for templates
    that take texts and images, in parts.

    begun  whether the beginning of the next answer is put behind them

    Raises ModelError for a template that cannot be filled, or leaves out one of the texts.
    """
    faults = []
    for as_content in (str, _in_parts):
        contents = [{"role": role, "content": as_content(said)} for role, said in turns]
        try:
            text = _applied(tokenizer, contents, begun=begun)
        except ModelError as error:
            faults.append(error)
            continue
        left_out = next(((role, said) for role, said in turns if said not in text), None)
        if left_out is None:
            return text
        faults.append(
            ModelError(
                f"the chat template of {type(tokenizer).__name__} leaves out the "
                f"{CALLED[left_out[0]]} {left_out[1]!r}. Give a template that puts it in as it is."
            )
        )
    raise faults[0]


def _in_parts(text: str) -> list[dict[str, str]]:
    """A text as the only part of a content."""
    return [{"type": "text", "text": text}]


def _applied(tokenizer: Any, turns: list[dict[str, Any]], *, begun: bool) -> str:
    template = chat_template(tokenizer)
    if not template:
        raise ModelError(
            f"{type(tokenizer).__name__} has no template for chats. Ask without a chat, or use an "
            "instruct model."
        )
    try:
        return tokenizer.apply_chat_template(
            turns,
            chat_template=_FIXED_DAY + template,
            tokenize=False,
            add_generation_prompt=begun,
        )
    except MemoryError:
        raise
    except Exception as error:  # a template may do anything, and fail at it
        said = " ".join(str(error).split())
        raise ModelError(
            f"the chat template of {type(tokenizer).__name__} cannot be filled: {said}. "
            "Give a template of Jinja that takes the roles user, assistant and, if a system prompt "
            "is set, system."
        ) from error
