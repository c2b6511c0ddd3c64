"""Finds the place of a subject in a prompt, and whether a text names one of many subjects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pipeline.datasets.scripts import PARTICLES, Character, characters, words

ABSENT = -1
"""Returned in place of an index where the subject is not in the prompt."""
INSIDE = 2
"""An occurrence of the subject is a part of a longer word."""
# fmt: off
_OPENERS = frozenset((
    "A", "An", "And", "At", "By", "Did", "Do", "Does", "For", "From", "How", "If",
    "In", "Is", "It", "Of", "On", "The", "To", "Was", "Were", "What",
    "When", "Where", "Which", "Who", "Whom", "Whose", "Why", "With",
))
# fmt: on
"""Words that are not taken as a name at the start of a text, although films and songs have each of
them as a title."""


class Place(NamedTuple):
    """Where a subject stands in a prompt."""

    start: int
    """Index of its first character; ABSENT where the prompt does not have it."""
    subject: str
    """The subject as the prompt writes it."""


def find_subject(prompt: str, subject: str, start: int | None = None) -> Place:
    """Where the subject stands in the prompt as whole words.

    Composed and decomposed letters are the same, and so are straight and curly apostrophes, dashes,
    spaces of any kind, full and half width. Where the subject occurs more than once, the first
    occurrence of the best kind is taken: with the same upper and lower case before another; between
    spaces, marks or letters of another script before the middle of a text whose script has no
    spaces, and before a Korean particle.

    start  takes the subject at this index only, whatever stands beside it
    """
    if start is None and prompt.isascii() and subject.isascii() and subject:
        found = re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", prompt)
        if found:
            return Place(found.start(), subject)
    places = [
        (quality, first, last)
        for quality, first, last in _occurrences(characters(prompt), characters(subject))
        if first == start or (start is None and quality[1] != INSIDE)
    ]
    if not places:
        return Place(ABSENT, subject)
    _, first, last = min(places, key=lambda place: (place[0], place[1]))
    return Place(first, prompt[first:last])


def _occurrences(
    prompt: Sequence[Character], subject: Sequence[Character]
) -> Iterator[tuple[tuple[bool, int], int, int]]:
    """Each occurrence of the subject: whether its case differs, how it is joined to what stands
    beside it (`_joint`), and the indices of its beginning and end in the prompt."""
    wanted = [char.plain for char in subject]
    wanted_folded = [plain.casefold() for plain in wanted]
    plain = [char.plain for char in prompt]
    folded = [char.casefold() for char in plain]
    number = len(wanted)
    for i in range(len(prompt) - number + 1 if number else 0):
        if folded[i : i + number] == wanted_folded:
            joint = _joint(prompt[:i], prompt[i : i + number], prompt[i + number :])
            differs = plain[i : i + number] != wanted
            yield (differs, joint), prompt[i].start, prompt[i + number - 1].end


def _joint(
    before: Sequence[Character], own: Sequence[Character], after: Sequence[Character]
) -> int:
    """How an occurrence is joined to what stands beside it: 0 between word boundaries, 1 before a
    particle or in the middle of a text without spaces, INSIDE in a longer word."""
    left = _side(before[-1:], own[0])
    right = _side(after[:1], own[-1])
    if right == INSIDE and PARTICLES.fullmatch(_rest_of_word(after)):
        right = 1
    return max(left, right)


def _side(beside: Sequence[Character], own: Character) -> int:
    """0 where a word may end between a character of the subject and the one beside it, 1 where that
    cannot be seen, INSIDE where both are of one word."""
    if not beside or not beside[0].is_in_word or not own.is_in_word:
        return 0
    if not (beside[0].is_spaceless or own.is_spaceless):
        return INSIDE
    return 0 if beside[0].script != own.script else 1


def _rest_of_word(after: Sequence[Character]) -> str:
    """The characters up to the end of the word."""
    end = next((i for i, char in enumerate(after) if not char.is_in_word), len(after))
    return "".join(char.plain for char in after[:end])


def template_of(prompt: str, subject: str) -> str:
    """The prompt with `{}` in place of its subject. It stands for the relation where the property
    id is unknown. A prompt without the subject is returned unchanged."""
    place = find_subject(prompt, subject)
    if place.start == ABSENT:
        return prompt
    return f"{prompt[: place.start]}{{}}{prompt[place.start + len(place.subject) :]}"


def fill(template: str, subject: str) -> str:
    """The template with the subject in place of its first `{}`."""
    return template.replace("{}", subject, 1)


class Names:
    """A set of names that can be searched for in a text, as whole words with the same case.

    Articles and upper case distinguish names from words (`The Who`). A Korean particle may follow a
    name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_first: dict[str, set[tuple[str, ...]]] = {}
        for name in names:
            if parts := tuple(words(name)):
                self._by_first.setdefault(parts[0], set()).add(parts)

    def are_in(self, text: str) -> bool:
        """Whether any of the names is in the text. The time depends on the length of the text, not
        on the number of names."""
        parts = words(text)
        bare = [_without_particle(part) for part in parts]
        return any(
            tuple(parts[i : i + len(name) - 1]) == name[: len(name) - 1]
            and name[len(name) - 1] in (parts[i + len(name) - 1], bare[i + len(name) - 1])
            for i, word in enumerate(parts)
            for name in {*self._by_first.get(word, ()), *self._by_first.get(bare[i], ())}
            if i + len(name) <= len(parts) and (i > 0 or len(name) > 1 or word not in _OPENERS)
        )


def _without_particle(word: str) -> str:
    return PARTICLES.sub("", word) or word
