"""Does a piece of generated text give a certain answer? Normalisation and alias matching.

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
    """Normal form of an answer: `The F.C. Barcelona!` and `fc barcelona` are the same."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = _NOT_WORD.sub("", _SEPARATOR.sub(" ", text))
    return " ".join(_ARTICLES.sub(" ", text).split())


def begins_with(text: str, names: Iterable[str]) -> str | None:
    """The first of `names` that `text` begins with, ending at a word boundary; None where none
    does."""
    said = normalise(text) + " "
    for name in names:
        wanted = normalise(name)
        if wanted and said.startswith(wanted + " "):
            return name
    return None


def is_one_of(text: str, names: Iterable[str]) -> bool:
    """Whether `text` is one of `names` and says nothing else."""
    said = normalise(text)
    return bool(said) and any(said == normalise(name) for name in names)


def contains(text: str, names: Iterable[str]) -> bool:
    """Whether one of `names` is somewhere in `text`, as whole words."""
    said = f" {normalise(text)} "
    return any(wanted and f" {wanted} " in said for wanted in map(normalise, names))


def settled(text: str, names: Iterable[str]) -> bool:
    """Whether nothing written behind `text` can change what `begins_with` or `is_one_of` say of it.

    Only whole words decide, for the last one may still grow.
    """
    said = normalise(" ".join(text.split()[:-1])).split()
    return all(normalise(name).split()[: len(said)] != said for name in names)
