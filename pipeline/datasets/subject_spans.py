"""Where a subject stands in a prompt, and whether a text is about one of many subjects."""

from __future__ import annotations

import re
from collections.abc import Iterable

ABSENT = -1
"""Place of a subject that is not in its prompt."""
_WORD = re.compile(r"\w+")
# fmt: off
_OPENERS = frozenset((
    "A", "An", "And", "At", "By", "Did", "Do", "Does", "For", "From", "How", "If",
    "In", "Is", "It", "Of", "On", "The", "To", "Was", "Were", "What",
    "When", "Where", "Which", "Who", "Whom", "Whose", "Why", "With",
))
# fmt: on
"""At the head of a text these are no names, though there are films and songs of each."""


def find_subject(prompt: str, subject: str) -> int:
    """Character at which the subject begins, as whole words; ABSENT where it does not occur."""
    found = re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", prompt) if subject else None
    return found.start() if found else ABSENT


def template_of(prompt: str, subject: str) -> str:
    """The prompt with `{}` for its subject: the relation, where no property id is known."""
    start = find_subject(prompt, subject)
    if start == ABSENT:
        return prompt
    return f"{prompt[:start]}{{}}{prompt[start + len(subject) :]}"


def fill(template: str, subject: str) -> str:
    """The subject in the place of `{}`."""
    return template.replace("{}", subject, 1)


class Names:
    """Names, to be found in texts as whole words, in the case that they are written in.

    Articles and lower case tell names apart (`The Who`), so that texts are not normalised.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_first: dict[str, set[tuple[str, ...]]] = {}
        for name in names:
            words = tuple(_WORD.findall(name))
            if words:
                self._by_first.setdefault(words[0], set()).add(words)

    def are_in(self, text: str) -> bool:
        """Whether any of the names is in the text. Time grows with the text, not the names."""
        words = _WORD.findall(text)
        return any(
            tuple(words[i : i + len(name)]) == name
            for i, word in enumerate(words)
            for name in self._by_first.get(word, ())
            if i > 0 or len(name) > 1 or word not in _OPENERS
        )
