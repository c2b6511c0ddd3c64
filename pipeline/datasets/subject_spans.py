"""Finds the place of a subject in a prompt, and whether a text names one of many subjects."""

from __future__ import annotations

import re
from collections.abc import Iterable

ABSENT = -1
"""Returned in place of an index where the subject is not in the prompt."""
_WORD = re.compile(r"\w+")
# fmt: off
_OPENERS = frozenset((
    "A", "An", "And", "At", "By", "Did", "Do", "Does", "For", "From", "How", "If",
    "In", "Is", "It", "Of", "On", "The", "To", "Was", "Were", "What",
    "When", "Where", "Which", "Who", "Whom", "Whose", "Why", "With",
))
# fmt: on
"""Words that are not taken as a name at the start of a text, although films and songs have each of
them as a title."""


def find_subject(prompt: str, subject: str) -> int:
    """Character at which the subject first occurs as whole words; ABSENT where it does not."""
    found = re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", prompt) if subject else None
    return found.start() if found else ABSENT


def template_of(prompt: str, subject: str) -> str:
    """The prompt with `{}` in place of its subject. It stands for the relation where the property
    id is unknown. A prompt without the subject is returned unchanged."""
    start = find_subject(prompt, subject)
    if start == ABSENT:
        return prompt
    return f"{prompt[:start]}{{}}{prompt[start + len(subject) :]}"


def fill(template: str, subject: str) -> str:
    """The template with the subject in place of its first `{}`."""
    return template.replace("{}", subject, 1)


class Names:
    """A set of names that can be searched for in a text, as whole words with the same case.

    Texts are not normalised: articles and upper case distinguish names from words (`The Who`).
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_first: dict[str, set[tuple[str, ...]]] = {}
        for name in names:
            words = tuple(_WORD.findall(name))
            if words:
                self._by_first.setdefault(words[0], set()).add(words)

    def are_in(self, text: str) -> bool:
        """Whether any of the names is in the text. The time depends on the length of the text, not
        on the number of names."""
        words = _WORD.findall(text)
        return any(
            tuple(words[i : i + len(name)]) == name
            for i, word in enumerate(words)
            for name in self._by_first.get(word, ())
            if i > 0 or len(name) > 1 or word not in _OPENERS
        )
