"""Text -> sentences, and the spans of a sentence that may be a subject or an object.

Both are short rules for English text that was edited with care: a sentence ends at a full stop
that no lower-case letter follows, and a name is a run of capitalised words. A name that the rules
miss is not extracted; a span is always part of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MAX_SENTENCE_CHARS = 600
"""Longer sentences are not read: they are lists or tables whose line breaks were lost."""

SpanKind = Literal["name", "date", "number", "noun"]

_ABBREVIATIONS = re.compile(
    r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|No|vs|Gen|Col|Lt|Sgt|Sen|Rep|Gov|Inc|Ltd|Co|Corp|"
    r"approx|ca|e\.g|i\.e|etc|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)\.$"
)
_END = re.compile(r"[.!?][\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]*[^\W_a-z])")
_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December|"
    "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
)
_DATE = re.compile(
    rf"\b(?:\d{{1,2}}\s+(?:{_MONTHS})\.?,?\s+\d{{4}}|(?:{_MONTHS})\.?\s+(?:\d{{1,2}},?\s+)?\d{{4}}|"
    r"\d{4}-\d\d-\d\d|(?:1[0-9]|20)\d\d)\b"
)
_NUMBER = re.compile(r"\b\d[\d,]*(?:\.\d+)?(?:\s+(?:thousand|million|billion))?\b")
_WORD = re.compile(r"(?:[^\W\d_]\.)+|\w+(?:[-'\u2019&]\w+)*", re.UNICODE)
# fmt: off
_JOINS = frozenset({
    "of", "the", "de", "la", "le", "du", "des", "van", "von", "der", "den", "del", "di", "da",
    "do", "dos", "al", "bin", "ibn", "y", "e"
})
_NOT_NAMES = frozenset({
    "the", "a", "an", "this", "that", "these", "those", "there", "here", "he", "she", "it",
    "they", "we", "i", "you", "his", "her", "hers", "its", "their", "our", "my", "your", "who",
    "whom", "whose", "which", "what", "when", "where", "while", "in", "on", "at", "by", "for",
    "from", "to", "with", "without", "as", "and", "or", "but", "if", "after", "before", "since",
    "until", "during", "under", "over", "between", "among", "about", "against", "into", "through",
    "is", "are", "was", "were", "be", "been", "has", "had", "have", "do", "does", "did", "not",
    "no", "yes", "also", "however", "although", "because", "so", "then", "now", "both", "each",
    "every", "some", "many", "most", "all", "one", "two", "three", "four", "five", "six", "seven",
    "eight", "nine", "ten", "according", "despite", "following", "including", "meanwhile",
    "later", "today", "yesterday", "tomorrow"
})
# fmt: on
_NOUN = re.compile(r"\b(?:a|an|the)\s+((?:[^\W\d_A-Z][\w-]*\s+){0,2}[^\W\d_A-Z][\w-]*)")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a sentence: `sentence[start:end] == text`."""

    start: int
    end: int
    text: str
    kind: SpanKind


def sentences(text: str) -> list[str]:
    """The sentences of a text, each on one line. A line break in the text ends a sentence too."""
    found = []
    for line in text.splitlines():
        start = 0
        for end in _END.finditer(line):
            if _ABBREVIATIONS.search(line[: end.start() + 1][-12:]):
                continue
            found.append(line[start : end.end()])
            start = end.end()
        found.append(line[start:])
    return [" ".join(sentence.split()) for sentence in found if sentence.strip()]


def spans(sentence: str) -> list[Span]:
    """The spans of a sentence from left to right, without overlaps. Where two would overlap, dates
    go before names, names before numbers, and these before nouns after an article."""
    found = [_span(match, "date") for match in _DATE.finditer(sentence)]
    found += _free(_names(sentence), found)
    found += _free([_span(match, "number") for match in _NUMBER.finditer(sentence)], found)
    found += _free([_span(match, "noun", 1) for match in _NOUN.finditer(sentence)], found)
    return sorted(found, key=lambda span: span.start)


def _names(sentence: str) -> list[Span]:
    """Runs of capitalised words, with words such as `of` between them."""
    names: list[Span] = []
    run: list[re.Match[str]] = []

    def close() -> None:
        while run and run[-1][0].lower() in _JOINS:
            run.pop()
        while run and run[0][0].lower() in _NOT_NAMES:
            run.pop(0)
        if run:
            start, end = run[0].start(), run[-1].end()
            text = re.sub(r"['\u2019]s$", "", sentence[start:end])
            names.append(Span(start, start + len(text), text, "name"))
        run.clear()

    for word in _WORD.finditer(sentence):
        gap = sentence[run[-1].end() : word.start()] if run else ""
        broken = gap.strip() not in ("", "-") or (run and run[-1][0].endswith(("'s", "\u2019s")))
        if run and broken:
            close()
        if word[0][0].isupper() or (run and word[0] in _JOINS) or (run and word[0].isdigit()):
            run.append(word)
        else:
            close()
    close()
    return names


def _span(match: re.Match[str], kind: SpanKind, group: int = 0) -> Span:
    return Span(match.start(group), match.end(group), match[group], kind)


def _free(candidates: list[Span], taken: list[Span]) -> list[Span]:
    """The candidates that overlap none of the spans taken."""
    return [
        span
        for span in candidates
        if all(span.end <= t.start or span.start >= t.end for t in taken)
    ]
