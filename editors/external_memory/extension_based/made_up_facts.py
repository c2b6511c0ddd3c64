"""Facts that are true of nobody: names from a text, put into the texts of relations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random

from editors.request import EditRequest, Wording

NAME = re.compile(r"(?<=[^\s.!?] )[^\W\d_a-z][\w'\u2019-]*(?: [^\W\d_a-z][\w'\u2019-]*){0,3}")
"""One to four words that do not begin with a small letter, behind a word that ends no sentence."""
MAX_NAME_CHARS = 40


def names_in(texts: Sequence[str]) -> list[str]:
    """What looks like names in texts, each once, in order."""
    found = (name for text in texts for name in NAME.findall(text))
    own = (name for name in found if name[0] != name[0].lower() or not name[0].isascii())
    return list(dict.fromkeys(name for name in own if 1 < len(name) <= MAX_NAME_CHARS))


def made_up(
    relations: Mapping[str, tuple[Wording, ...]], names: Sequence[str], number: int, draw: Random
) -> list[EditRequest]:
    """Facts of `number` different subjects, each with all texts of its relation: the first is its
    prompt, the last its question.

    relations  id of a relation -> its texts, two at least, each with some subject
    names      more than `number`
    """
    keys = sorted(relations)
    facts: list[EditRequest] = []
    for i, subject in enumerate(draw.sample(names, number)):
        target = draw.choice(names)
        prompt, *wordings, question = (
            _about(text, subject) for text in relations[draw.choice(keys)]
        )
        facts.append(
            EditRequest(
                id=str(i),
                prompt=prompt.text,
                subject_span=prompt.subject_span,
                target=target,
                wordings=tuple(wordings),
                question=question,
            )
        )
    return facts


def _about(text: Wording, subject: str) -> Wording:
    """A text about another subject."""
    start, end = text.subject_span
    return Wording(f"{text.text[:start]}{subject}{text.text[end:]}", (start, start + len(subject)))
