"""Questions in tokens: what runs together, and once for all questions that begin alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from infra.errors import ModelError
from infra.lm.question import Question

PASS_TOKENS = 1024
"""Tokens of prompts that run in one pass, padding included; a longer prompt runs by itself."""


@dataclass(slots=True)
class Encoded:
    """A question in tokens: what all its rows share, and what is each one's own."""

    number: int
    """Its place among the questions."""
    question: Question
    prefix: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    """Tokens after the prefix, for each candidate."""
    first: tuple[int, ...]
    """Index in each row of the first token that belongs to the candidate."""
    scores: list[tuple[float, int, int]]
    """Of each candidate: log-likelihood, tokens, tokens that are the likeliest; zeros until it is
    scored."""


@dataclass(slots=True)
class PromptGroup:
    """The questions that begin with the same tokens, which run once for all of them."""

    tokens: tuple[int, ...]
    parts: list[Encoded]
    listening: list[Encoded]
    """Whose continuation is not over."""
    score: tuple[float, int, int] = (0.0, 0, 0)
    """Of the prompt itself, where a `whole` question is among its parts: as of a candidate."""
    said: list[int] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)
    """By number of a question, how many tokens its continuation has."""


def encode(tokenizer: Any, number: int, question: Question) -> Encoded:
    """Prompt and candidates tokenised together, so that the boundary is the model's own."""
    boundary = len(question.prompt)
    texts = [
        f"{question.prompt}{question.joined_by}{candidate}" for candidate in question.candidates
    ]
    encoded = tokenizer([*texts, question.prompt], return_offsets_mapping=True)
    *rows, bare = encoded["input_ids"]
    starts = [
        next(i for i, (_, end) in enumerate(offsets) if end > boundary)
        for offsets in encoded["offset_mapping"][:-1]
    ]
    shared = len(bare)
    for row, start in zip(rows, starts, strict=True):
        shared = min(shared, start, _common(row, bare))
    if shared == 0:
        raise ModelError(f"question {question.id}: prompt {question.prompt!r} has no token.")
    return Encoded(
        number,
        question,
        tuple(bare[:shared]),
        tuple(tuple(row[shared:]) for row in rows),
        tuple(0 if question.whole else start - shared for start in starts),
        [(0.0, 0, 0)] * len(rows),
    )


def by_prefix(encoded: Iterable[Encoded]) -> list[PromptGroup]:
    """Questions by what they begin with, from short to long."""
    groups: dict[tuple[int, ...], list[Encoded]] = {}
    for part in encoded:
        groups.setdefault(part.prefix, []).append(part)
    return [
        PromptGroup(tokens, parts, [part for part in parts if part.question.greedy])
        for tokens, parts in sorted(groups.items(), key=lambda item: (len(item[0]), item[0]))
    ]


def batches(prompts: Iterable[PromptGroup], max_rows: int) -> Iterator[list[PromptGroup]]:
    """Prompts that run in one pass, given from short to long."""
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
    """Token ids [B,T] and mask [B,T]; padding repeats token 0, which the mask hides."""
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = torch.tensor(row)
        mask[i, place] = 1
    return ids.to(device), mask.to(device)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


FULL_TOKENS = 128
"""So many tokens in a pass make it about as fast, on a CPU, as more would."""
PADDED_SHARE = 0.1
"""Of a pass that is full, what may be padding."""


def chunks(items: Sequence[Any], lengths: Sequence[int], max_rows: int) -> Iterator[Sequence[Any]]:
    """Items, sorted by their lengths, in parts of so many at most that are little padded."""
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
