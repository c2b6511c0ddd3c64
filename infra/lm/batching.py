"""Tokenise questions, group those with the same prompt, and divide the groups into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from infra.errors import ModelError
from infra.lm.chat import as_chat
from infra.lm.question import Question
from infra.lm.text_tokens import num_without_end

PASS_TOKENS = 1024
"""Tokens of the prompts in one forward pass, padding included; a longer prompt runs alone."""
FULL_TOKENS = 128
"""Tokens from which on a forward pass on a CPU gets hardly faster a token with more of them."""
PADDED_SHARE = 0.1
"""Share of padding, at most, in a forward pass of `FULL_TOKENS` or more."""


@dataclass(slots=True)
class EncodedQuestion:
    """A question in tokens: a prefix, and for each candidate a row of tokens after it."""

    number: int
    """Index of the question among those asked together."""
    question: Question
    prefix: tuple[int, ...]
    """The tokens that the prompt alone and the prompt with each candidate begin with."""
    rows: tuple[tuple[int, ...], ...]
    """For each candidate, its tokens after the prefix."""
    first: tuple[int, ...]
    """For each candidate, the index in its row of the first token that is scored."""
    scores: list[tuple[float, int, int]]
    """For each candidate: log-likelihood in nats, number of tokens, number of those that are the
    model's likeliest; zeros until it is scored."""


@dataclass(slots=True)
class PromptGroup:
    """The questions with the same prefix, which runs once for all of them."""

    tokens: tuple[int, ...]
    """The prefix."""
    questions: list[EncodedQuestion]
    unfinished: list[EncodedQuestion]
    """Questions whose continuation has not ended."""
    score: tuple[float, int, int] = (0.0, 0, 0)
    """Score of the prefix itself, as of a candidate; computed if one question is `whole`."""
    continuation: list[int] = field(default_factory=list)
    """Tokens of the longest continuation up to now."""
    lengths: dict[int, int] = field(default_factory=dict)
    """Number of a question -> how many of these tokens belong to its continuation."""


def encode(tokenizer: Any, number: int, question: Question) -> EncodedQuestion:
    """Tokenise a question. Prompt and candidate are tokenised as one text, which begins as the
    tokenizer begins a text. What the tokenizer adds behind a text (an end token) is left out: a
    prompt goes on, and a candidate is scored by its own tokens.

    number  index of the question among those asked together

    Raises ModelError for a prompt without a token, and for a chat without a template.
    """
    prompt, joined_by = question.prompt, question.joined_by
    if question.chat:
        prompt, joined_by = as_chat(tokenizer, prompt, system=question.system).text, ""
    boundary = len(prompt)
    encoded = tokenizer(
        [*(f"{prompt}{joined_by}{candidate}" for candidate in question.candidates), prompt],
        add_special_tokens=not question.chat,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    *rows, bare = (
        ids[: num_without_end(tokenizer, mask)]
        for ids, mask in zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
    )
    starts = [
        next(i for i, (_, end) in enumerate(offsets) if end > boundary)
        for offsets in encoded["offset_mapping"][:-1]
    ]
    shared = len(bare)
    for row, start in zip(rows, starts, strict=True):
        shared = min(shared, start, _common(row, bare))
    if shared == 0:
        raise ModelError(f"question {question.id}: prompt {question.prompt!r} has no token.")
    return EncodedQuestion(
        number,
        question,
        tuple(bare[:shared]),
        tuple(tuple(row[shared:]) for row in rows),
        tuple(0 if question.whole else start - shared for start in starts),
        [(0.0, 0, 0)] * len(rows),
    )


def by_prefix(encoded: Iterable[EncodedQuestion]) -> list[PromptGroup]:
    """Group questions by their prefix; groups are sorted from short to long prefixes."""
    groups: dict[tuple[int, ...], list[EncodedQuestion]] = {}
    for one in encoded:
        groups.setdefault(one.prefix, []).append(one)
    return [
        PromptGroup(tokens, members, [one for one in members if one.question.greedy])
        for tokens, members in sorted(groups.items(), key=lambda item: (len(item[0]), item[0]))
    ]


def batches(prompts: Iterable[PromptGroup], max_rows: int) -> Iterator[list[PromptGroup]]:
    """Divide groups, sorted from short to long, into those that run in one forward pass.

    A batch has at most `max_rows` groups and, unless it is a single one, `PASS_TOKENS` tokens.
    """
    batch: list[PromptGroup] = []
    for prompt in prompts:
        padded = (len(batch) + 1) * len(prompt.tokens)
        if batch and (len(batch) == max_rows or padded > PASS_TOKENS):
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


def pad_rows(rows: Sequence[Sequence[int]], *, left: bool, device: Any) -> tuple[Tensor, Tensor]:
    """Token ids and mask of rows of tokens, [N, T] each, padded on the left or on the right.

    The mask is 1 at tokens and 0 at padding, whose token id is 0.
    """
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = torch.tensor(row)
        mask[i, place] = 1
    return ids.to(device), mask.to(device)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix of two rows."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def chunks(items: Sequence[Any], lengths: Sequence[int], max_rows: int) -> Iterator[Sequence[Any]]:
    """Divide items, sorted by length, into parts with little padding that run in one pass each.

    A part ends at `max_rows` items, or when it has `FULL_TOKENS` tokens and the next item would
    make more than `PADDED_SHARE` of it padding.
    """
    start, tokens = 0, 0
    for i, length in enumerate(lengths):
        width = (i + 1 - start) * length
        padded = width - tokens - length
        if i - start == max_rows or (tokens >= FULL_TOKENS and padded > PADDED_SHARE * width):
            yield items[start:i]
            start, tokens = i, 0
        tokens += length
    if start < len(items):
        yield items[start:]
