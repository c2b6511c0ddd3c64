"""Decide whether a generated text gives a certain answer, by its normal form and its aliases.

The normal form is the one of the generation metrics (`exact`, `alias`): NFKC, lower case, no
punctuation, no articles, single spaces. Scores hang on this very form, so it is no library's to
change.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SEPARATOR = re.compile(r"['\u2019\-/]")
_NOT_WORD = re.compile(r"[^\w\s]")


def normalise(text: str) -> str:
    """Normal form of a text: that of `The F.C. Barcelona!` is `fc barcelona`."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = _NOT_WORD.sub("", _SEPARATOR.sub(" ", text))
    return " ".join(_ARTICLES.sub(" ", text).split())


def begins_with(text: str, names: Iterable[str]) -> str | None:
    """The first of `names` that `text` begins with, as whole words; None where there is none."""
    normal = normalise(text) + " "
    for name in names:
        normal_name = normalise(name)
        if normal_name and normal.startswith(normal_name + " "):
            return name
    return None


def is_one_of(text: str, names: Iterable[str]) -> bool:
    """Whether `text` is one of `names` and nothing more. A text without words is none."""
    normal = normalise(text)
    return bool(normal) and any(normal == normalise(name) for name in names)


def contains(text: str, names: Iterable[str]) -> bool:
    """Whether one of `names` stands anywhere in `text`, as whole words."""
    normal = f" {normalise(text)} "
    return any(name and f" {name} " in normal for name in map(normalise, names))


def is_settled(text: str, names: Iterable[str]) -> bool:
    """Whether no continuation of `text` can change the results of `begins_with` and `is_one_of`.

    The last word is ignored, since it may still grow.
    """
    words = normalise(" ".join(text.split()[:-1])).split()
    return all(normalise(name).split()[: len(words)] != words for name in names)
