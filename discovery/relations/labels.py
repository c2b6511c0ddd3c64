"""Labels that nobody vouches for -> words that fit where a sentence has a place for them.

`clean_label` makes one line of anything; `rendered` pastes it, so that the sentence stays one: a
capital at its beginning, one article, one possessive. Labels are only ever pasted, never formatted.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LABEL_CHARS = 120
"""Longer labels are descriptions, not names; they are cut at a word."""
MAX_READ_CHARS = 16 * MAX_LABEL_CHARS
"""Of a longer label no more is looked at, so that ten megabytes cost what a line costs."""
POSSESSIVE = "'s"

_ARTICLE_BEHIND = re.compile(r"(?:^|(?<=\s))(?:the|a|an) $", re.IGNORECASE)
_ARTICLE_BEFORE = re.compile(r"(?:the|a|an) ", re.IGNORECASE)


def clean_label(label: str, max_chars: int = MAX_LABEL_CHARS) -> str:
    """A label on one line: NFC, no control or format characters, single spaces, cut at a word."""
    text = unicodedata.normalize("NFC", label[:MAX_READ_CHARS])
    # Cc control, Cf format (zero width, bidi), Cs surrogates, Zl and Zp line and paragraph ends.
    spaced = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Zs") else c
        for c in text
        if unicodedata.category(c) not in ("Cf", "Cs")
    )
    words = " ".join(spaced.split())
    if len(words) <= max_chars:
        return words
    return words[: max_chars + 1].rpartition(" ")[0] or words[:max_chars]


def rendered(before: str, label: str, after: str) -> tuple[str, tuple[int, int]]:
    """`before` + label + `after` as a sentence, and the characters that are the label's.

    label  cleaned, not empty

    The label stays whole, since an edit is about its tokens; what gives way is the template:

    - at the sentence's start a word in lower case gets its capital (`iPhone` keeps its own form);
    - `the [X]` with a label that has its article (`The Hague`) has that one alone;
    - `[X]'s` after an s is an apostrophe, and nothing after a label that is a possessive itself
      (`McDonald's`).
    """
    if not before:
        label = _capital(label)
    elif _ARTICLE_BEFORE.match(label):
        before = _ARTICLE_BEHIND.sub("", before)
        label = label if before else _capital(label)
    if after.startswith(POSSESSIVE):
        after = _possessive(label) + after.removeprefix(POSSESSIVE)
    return before + label + after, (len(before), len(before) + len(label))


def _capital(label: str) -> str:
    """With a capital, unless the first word has one further on or case is not its matter."""
    first = label.split(" ", 1)[0]
    upper = label[0].upper()
    return upper + label[1:] if first.islower() and len(upper) == 1 else label


def _possessive(label: str) -> str:
    if re.search(r"(?:['\u2019]s|['\u2019])$", label):
        return ""
    return "'" if label.endswith("s") else POSSESSIVE
