"""Decide whether a generated text gives a certain answer, by the words of its normal form.

An answer is judged beside the other answers that are known: it counts for the longest name that it
begins with, so that `New York City` is not `New York` where both are known.

A name that is written like a word counts in fewer texts than others (`Norway` has the alias `NO`):

- a code, which is two or three capitals, counts as it is written, or alone in any case;
- a word that begins many sentences (`EVERYDAY`) counts as it is written, and alone;
- a single letter counts as it is written, before an end, a word in lower case, or an everyday word;
- a name of punctuation (`!!!`) counts alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from infra.lm.normal_form import (
    ARTICLES,
    NormalForm,
    complete_words,
    normal_form,
    normalise,
    visible,
)

# fmt: off
EVERYDAY = ARTICLES | frozenset((
    "am", "and", "are", "as", "at", "be", "but", "by", "can", "do", "for", "from", "go", "has",
    "he", "her", "his", "i", "if", "in", "is", "it", "its", "me", "my", "no", "nor", "not", "of",
    "on", "or", "she", "so", "that", "they", "this", "to", "was", "we", "with", "you",
))
# fmt: on
"""Words that begin many answers, although some of them are codes of countries, languages and
elements, or titles of films."""

Rank = tuple[int, int]
"""How well a text begins with a name: the number of words, and of two names with as many words, the
number of characters that are written alike."""
NO_RANK: Rank = (0, 0)
Place = tuple[int, int]
"""Words of a text: the index of the first, and of the one after the last."""
_OPENING = " \"'\u2018\u201c«*(["
"""Marks before the first word of a quoted text."""


def begins_with(text: str, names: Iterable[str], rivals: Iterable[str] = ()) -> str | None:
    """The longest of `names` that `text` begins with, as whole words; None where there is none.

    It is None too where `text` begins with a longer name among `rivals`, which are the names of
    other answers. A name that is among both counts.
    """
    said = normal_form(text)
    best, rank = None, NO_RANK
    for name in names:
        if (found := _rank(text, said, name)) > rank:
            best, rank = name, found
    if best is None or any(_rank(text, said, rival) > rank for rival in rivals):
        return None
    return best


def is_one_of(text: str, names: Iterable[str]) -> bool:
    """Whether `text` is one of `names` and nothing more. A text without a visible character is
    none."""
    return any(_is_same(text, name) for name in names)


def contains(text: str, names: Iterable[str]) -> bool:
    """Whether one of `names` stands anywhere in `text`, as whole words. An everyday word or a
    single letter counts at the end of the text only."""
    said = normal_form(text)
    return any(_places(text, said, name) for name in names)


def named(text: str, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` that stand in `text` as whole words, each outside of a longer one: of `New
    York` and `New York City`, a text about the city names the second only. What counts as standing
    in a text is as of `contains`."""
    said = normal_form(text)
    places = {name: _places(text, said, name) for name in names}
    every = {place for found in places.values() for place in found}
    return frozenset(
        name
        for name, found in places.items()
        if any(not any(_is_inside(place, other) for other in every) for place in found)
    )


def is_settled(text: str, names: Iterable[str]) -> bool:
    """Whether no continuation of `text` can change the results of `begins_with` and `is_one_of`,
    whichever of `names` are its names and its rivals."""
    said = complete_words(text)
    if ARTICLES.issuperset(said.words):
        return False
    return not any(_may_be(said, normal_form(name)) for name in names)


def _may_be(said: NormalForm, name: NormalForm) -> bool:
    """Whether a text that begins with the words of `said` may yet be the name, or go beyond it."""
    return name.words[: len(said.words)] == said.words or name.name[: len(said.name)] == said.name


def _rank(text: str, said: NormalForm, name: str) -> Rank:
    """How well `text`, whose normal form is `said`, begins with one name."""
    known = normal_form(name)
    length = _words_matched(said, known)
    if not length:
        return (1, len(name)) if not known.words and _is_same(text, name) else NO_RANK
    kind = _kind(known)
    if kind != "name" and not _counts(text, said, known, kind):
        return NO_RANK
    return length, _written_alike(text, name)


def _words_matched(said: NormalForm, known: NormalForm) -> int:
    """The number of words at the beginning of a text that are the name, with an article before it;
    0 where it does not begin so. An article may stand in both, or in one of them."""
    if not known.words:
        return 0
    if said.words[: len(known.words)] == known.words:
        return len(known.words)
    if said.name[: len(known.name)] == known.name:
        return said.front + len(known.name)
    return 0


Kind = Literal["name", "code", "everyday", "letter"]


@lru_cache(maxsize=1 << 14)
def _kind(known: NormalForm) -> Kind:
    """How a name is written."""
    if len(known.name) != 1:
        return "name"
    word = known.spelled[-1]
    if known.name[0] in EVERYDAY:
        return "everyday"
    if not (word.isascii() and word.isalpha()):
        return "name"
    if len(word) == 1:
        return "letter"
    return "code" if len(word) <= 3 and word.isupper() else "name"


def _counts(text: str, said: NormalForm, known: NormalForm, kind: Kind) -> bool:
    """Whether a text that begins with the word of a code, an everyday word or a letter says it."""
    is_written = said.spelled[said.front] == known.spelled[-1]
    after = said.spelled[said.front + 1 : said.front + 2]
    if kind == "code":
        return is_written or not after
    if kind == "everyday":
        # What follows in brackets says which one is meant: `Her (2013 film)`.
        return is_written and (not after or len(normal_form(text.split("(")[0]).name) == 1)
    return is_written and all(word.islower() or word.casefold() in EVERYDAY for word in after)


def _is_same(text: str, name: str) -> bool:
    """Whether a text is a name and nothing more."""
    said, known = normal_form(text), normal_form(name)
    if not known.words or not said.words:
        return bool(visible(text)) and normalise(text) == normalise(name)
    if _kind(known) == "everyday" and said.spelled[-1] != known.spelled[-1]:
        return False
    return said.words == known.words or said.name == known.name


def _places(text: str, said: NormalForm, name: str) -> list[Place]:
    """Where a name stands in `text`, whose normal form is `said`; the whole text where it is the
    name and nothing more."""
    if _is_same(text, name):
        return [(0, len(said.words))]
    known = normal_form(name)
    words, kind = known.name, _kind(known)
    number, last = len(words), len(said.words) - 1
    if not number:
        return []
    if kind == "code":
        return [(i, i + 1) for i, word in enumerate(said.spelled) if word == known.spelled[-1]]
    if kind != "name":
        return [(last, last + 1)] if said.spelled[-1:] == known.spelled[-1:] else []
    return [
        (i, i + number)
        for i, word in enumerate(said.words)
        if word == words[0] and said.words[i : i + number] == words
    ]


def _is_inside(one: Place, other: Place) -> bool:
    """Whether a place is a part of a longer one."""
    return one != other and other[0] <= one[0] and one[1] <= other[1]


def _written_alike(text: str, name: str) -> int:
    """The number of a name's characters, where a text begins with just these; else 0."""
    written = visible(name)
    return len(written) if visible(text).lstrip(_OPENING).startswith(written) else 0
