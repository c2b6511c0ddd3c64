"""The label of a relation -> templates, for a relation without templates of its own.

Labels of properties are of a few kinds, which their first and last words distinguish:

    noun          head of government        The head of government of Ann is ...
    role          member of sports team     Ann is a member of sports team ...
    adjectival    located in, owned by      Ann is located in ...
    verb          shares border with        Ann shares border with ...

The sentences are grammatical, not idiomatic: good enough to ask a model what it believes.
"""

from __future__ import annotations

import re
from typing import Any

from discovery.relations.labels import clean_label

# fmt: off
PREPOSITIONS = frozenset(
    [
        "about", "after", "against", "as", "at", "before", "behind", "below", "between", "beyond",
        "by", "for", "from", "in", "into", "near", "of", "on", "onto", "over", "through", "to",
        "toward", "towards", "under", "with", "within", "without"
    ]
)
ROLES = {
    **dict.fromkeys(
        [
        "candidate", "citizen", "contestant", "facet", "follower", "member", "metasubclass",
        "participant", "student", "subclass", "subproperty", "subset"
    ],
        "a",
    ),
    "capital": "the",
    "instance": "an",
    "part": "",
}
"""Nouns that name a role of the subject, with their article."""
ADJECTIVES = frozenset(
    [
        "active", "adjacent", "available", "endemic", "native", "present", "similar"
    ]
)
IRREGULAR = frozenset(
    [
        "born", "built", "cast", "caught", "dealt", "drawn", "driven", "fought", "found", "given",
        "grown", "held", "known", "led", "left", "lost", "made", "met", "paid", "put", "read",
        "run", "said", "seen", "sent", "set", "shown", "sold", "spoken", "sung", "taken",
        "taught", "told", "won", "worn", "written"
    ]
)
"""Participles that do not end in `ed`."""
VERBS = frozenset(
    [
        "affects", "breeds", "contains", "covers", "crosses", "depicts", "employs", "excludes",
        "follows", "has", "holds", "includes", "influences", "inhibits", "interacts", "maintains",
        "occupies", "oversees", "owns", "permits", "precedes", "produces", "represents",
        "replaces", "serves", "shares", "sponsors", "studies", "supports", "treats", "uses"
    ]
)
# fmt: on


def templates_of(label: str, *, person: bool = False) -> dict[str, Any]:
    """`statements`, `held_out`, `neutral`, `question`, `held_out_questions` and `fallback` of a
    Relation.

    person  whether objects are persons, so that the question asks `who` instead of `what`

    Raises ValueError for a label without a word in it.
    """
    phrase, is_predicate = phrase_of(label)
    pronoun = "who" if person else "what"
    made = _predicate(phrase, pronoun) if is_predicate else _noun(phrase, pronoun)
    return {**made, "fallback": True}


def phrase_of(label: str) -> tuple[str, bool]:
    """A label as it is written in a sentence, and whether it is a predicate of the subject (`is
    located in`) or else names something that the subject has (`head of government`).

    Raises ValueError for a label without a word in it.
    """
    bare = re.sub(r"\s*\([^)]*\)", "", clean_label(label)).translate(_PLAIN)
    words = bare.split()
    if not any(c.isalpha() for c in bare):
        raise ValueError(f"label {label!r} has no word in it")
    first, second = words[0].lower(), words[1].lower() if len(words) > 1 else ""
    related = second in PREPOSITIONS
    participle = first in IRREGULAR or (len(first) > 4 and first.endswith("ed"))
    if first in VERBS and len(words) > 1:
        return " ".join(words), True
    if first in ROLES and related:
        article = ROLES[first]
        return f"is {article} {' '.join(words)}".replace("  ", " "), True
    if related and (participle or first in ADJECTIVES):
        return f"is {' '.join(words)}", True
    if len(words) > 1 and words[-1].lower() in PREPOSITIONS:
        return (" ".join(words) if first.endswith("s") else f"is {' '.join(words)}"), True
    return " ".join(words), False


def _noun(phrase: str, pronoun: str) -> dict[str, Any]:
    return {
        "statements": (
            f"The {phrase} of [X] is [Y].",
            f"[X]'s {phrase} is [Y].",
            f"As for [X], the {phrase} is [Y].",
        ),
        "held_out": (
            f"For [X], the {phrase} is [Y].",
            f"The {phrase} that [X] has is [Y].",
            f"Of [X], the {phrase} is known to be [Y].",
        ),
        "neutral": (f"The {phrase} is [Y].", f"Its {phrase} is [Y].", f"Here the {phrase} is [Y]."),
        "question": f"{pronoun.capitalize()} is the {phrase} of [X]?",
        "held_out_questions": (
            f"{pronoun.capitalize()} is [X]'s {phrase}?",
            f"Could you tell me the {phrase} of [X]?",
        ),
    }


def _predicate(phrase: str, pronoun: str) -> dict[str, Any]:
    return {
        "statements": (
            f"[X] {phrase} [Y].",
            f"It is known that [X] {phrase} [Y].",
            f"According to the records, [X] {phrase} [Y].",
        ),
        "held_out": (
            f"It is recorded that [X] {phrase} [Y].",
            f"In fact, [X] {phrase} [Y].",
            f"As is well known, [X] {phrase} [Y].",
        ),
        "neutral": (
            f"It {phrase} [Y].",
            f"It is known that it {phrase} [Y].",
            f"According to the records, it {phrase} [Y].",
        ),
        "question": f"[X] {phrase} {pronoun}?",
        "held_out_questions": (
            f"Can you say {pronoun} [X] {phrase}?",
            f"Do you know {pronoun} it is that [X] {phrase}?",
        ),
    }


_PLAIN = str.maketrans("", "", "[]?!.")
"""Removes characters that would be read as a placeholder or as the end of a sentence."""
