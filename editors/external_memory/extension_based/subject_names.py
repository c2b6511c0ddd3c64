"""The names at which an edit is in force: its subject's own, and aliases that mean nobody else."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from editors.internals.tokens import encode_name
from editors.request import EditRequest

log = logging.getLogger(__name__)
MARKS = ("", "a ", '"', "(", "\n")
"""What stands before a name in text. With each its first token may be another."""
MIN_ALIAS_TOKENS = 2
"""Tokens of an alias at least. A text that is one token is a frequent one (`US`, `May`, `Apple`),
and likely to stand for something else."""


def names_of(
    tokenizer: Any, subjects: Mapping[str, Sequence[EditRequest]]
) -> dict[str, tuple[str, ...]]:
    """By subject, its name and the aliases that it alone has, the name first; those that begin with
    a small letter also with a capital, as at the beginning of a sentence.

    subjects  name of a subject -> its requests

    An alias that is the name or an alias of another subject, or one token, is left out. Where two
    subjects of different ids have one name, an edit of either is in force for both: a line of the
    log says so.
    """
    aliases = {
        name: dict.fromkeys(alias for request in requests for alias in request.aliases)
        for name, requests in subjects.items()
    }
    owners = Counter(alias for own in aliases.values() for alias in own)
    for name, requests in subjects.items():
        ids = sorted({request.subject_id for request in requests} - {""})
        if len(ids) > 1:
            log.warning("%r is the name of %s: edits of each show for all", name, ", ".join(ids))
    found = {
        name: (
            name,
            *(
                alias
                for alias in own
                if owners[alias] == 1
                and alias not in subjects
                and len(_tokens(tokenizer, f"a {alias}", 2)) >= MIN_ALIAS_TOKENS
            ),
        )
        for name, own in aliases.items()
    }
    taken = {name for names in found.values() for name in names}
    for subject, names in found.items():
        capital = dict.fromkeys(name[:1].upper() + name[1:] for name in names)
        more = [name for name in capital if name not in taken]
        taken |= {*more}
        found[subject] = (*names, *more)
    return found


def token_names(
    tokenizer: Any, names: Sequence[str], requests: Sequence[EditRequest]
) -> tuple[tuple[int, ...], ...]:
    """The tokens of a subject's names wherever they may stand: in its prompts, and behind
    `MARKS`."""
    found = dict.fromkeys(
        [
            *(encode_name(tokenizer, r.prompt, r.subject_span) for r in requests),
            *(_tokens(tokenizer, mark + name, len(mark)) for name in names for mark in MARKS),
        ]
    )
    return tuple(name for name in found if name)


def _tokens(tokenizer: Any, text: str, start: int) -> tuple[int, ...]:
    """The tokens of the name that a text ends with."""
    return encode_name(tokenizer, text, (start, len(text)))
