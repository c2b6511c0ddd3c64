"""The tokens of a text, and the special tokens that its tokenizer adds to every text.

Many tokenizers put a beginning-of-sequence token in front of a text (Llama, Gemma, Mistral), a few
put an end token behind it. What is added is read from the tokenizer's own answer: a model may have
a `bos_token_id` that its tokenizer does not add. A special token that the text itself spells out is
one of the text's tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from infra.errors import ConfigError


def added_in_front(tokenizer: Any) -> tuple[int, ...]:
    """The token ids that the tokenizer puts in front of every text; empty where it adds none."""
    encoding = tokenizer("a", return_special_tokens_mask=True)
    ids, added = encoding["input_ids"], encoding["special_tokens_mask"]
    return tuple(ids[: _run(added)])


def own_tokens(tokenizer: Any, text: str) -> list[int]:
    """The token ids of a text, however long, without those that the tokenizer adds."""
    encoding = tokenizer(text, return_special_tokens_mask=True, truncation=False, verbose=False)
    ids, added = list(encoding["input_ids"]), encoding["special_tokens_mask"]
    return ids[_run(added) : num_without_end(tokenizer, added)]


def unknown_tokens(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that stand for any character that the tokenizer does not know; empty for
    one that knows all, as one of bytes does."""
    model = tokenizer.backend_tokenizer.model
    names = {tokenizer.unk_token, getattr(model, "unk_token", None)} - {None}
    return frozenset(tokenizer.convert_tokens_to_ids(list(names))) - {None}


def num_without_end(tokenizer: Any, added: Sequence[int]) -> int:
    """How many tokens of a text stand before those that the tokenizer adds behind it.

    added  the text's `special_tokens_mask`
    """
    if all(added):  # no token of the text's own parts what is in front from what is behind
        return len(added_in_front(tokenizer))
    return len(added) - _run(added[::-1])


def cut(
    front: Sequence[int],
    own: Sequence[int],
    size: int,
    inserted: Collection[int] = frozenset(),
) -> Iterator[list[int]]:
    """Windows over a text's tokens, each with the added tokens in front; the last may be shorter.

    front     what the tokenizer adds in front (`added_in_front`)
    own       tokens of the text (`own_tokens`)
    size      tokens of a window at most, those in front included
    inserted  ids that do not count (`infra.models.tokenizer.insertion`): such a token stays with
              the one that it stands behind

    Raises ConfigError where the size leaves no room for a token of the text.
    """
    room = size - len(front)
    if room < 1:
        raise ConfigError(
            f"a window of {size} tokens has no room behind the {len(front)} that the tokenizer "
            f"puts in front of a text. Give at least {len(front) + 1}."
        )
    places = [t for t, token in enumerate(own) if token not in inserted]
    for start in range(0, len(places), room):
        end = places[start + room] if start + room < len(places) else len(own)
        yield [*front, *own[places[start] : end]]


def _run(added: Sequence[int]) -> int:
    """How many items of the mask are 1 before the first 0."""
    return next((i for i, one in enumerate(added) if not one), len(added))
