"""Labels of sources -> text that can be put into a sentence.

Anybody may have written a label, so it is not trusted: `clean_label` makes it one line without
control characters, and it is pasted, never used as a format string. `rendered` keeps the sentence
grammatical: a capital at its beginning, one article, one possessive.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LABEL_CHARS = 120
"""Longer labels are descriptions, not names; they are cut after a word."""
MAX_READ_CHARS = 16 * MAX_LABEL_CHARS
"""Characters of a label that are read at all, so that a label of ten megabytes costs no more time
than a line."""
POSSESSIVE = "'s"

_ARTICLE_BEHIND = re.compile(r"(?:^|(?<=\s))(?:the|a|an) $", re.IGNORECASE)
_ARTICLE_BEFORE = re.compile(r"(?:the|a|an) ", re.IGNORECASE)


def clean_label(label: str, max_chars: int = MAX_LABEL_CHARS) -> str:
    """A label on one line: NFC, without control and format characters, with single spaces, cut
    after a word to at most max_chars."""
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
    """`before` + label + `after` as a sentence, and the span of the label's characters in it.

    label  cleaned, not empty

    The label stays whole, because an edit is about its tokens. The text around it is adapted:

    - at the start of the sentence a label in lower case gets a capital (`iPhone` keeps its form);
    - where the label has an article (`The Hague`), the template's article before it is left out;
    - `'s` becomes an apostrophe after an s, and is left out after a label that ends in a possessive
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
    """The label with a capital, unless its first word has one already or its script has none."""
    first = label.split(" ", 1)[0]
    upper = label[0].upper()
    return upper + label[1:] if first.islower() and len(upper) == 1 else label


def _possessive(label: str) -> str:
    if re.search(r"(?:['\u2019]s|['\u2019])$", label):
        return ""
    return "'" if label.endswith("s") else POSSESSIVE
