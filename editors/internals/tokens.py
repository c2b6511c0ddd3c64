"""From text with a marked subject to token rows: the token looked up, those to be predicted.

The whole text is tokenised at once, prompt and target together, and tokens are found by character
offsets: never by searching for the subject, never by counting tokens of parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editors.request import EditRequest, Wording
from infra.errors import EditError, ModelError
from infra.lm.chat import as_chat
from infra.lm.text_tokens import (
    added_in_front,
    cut,
    num_without_end,
    own_tokens,
    unknown_tokens,
)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """The tokens of one request in one context."""

    ids: tuple[int, ...]
    """Tokens of context, prompt and target, with what the tokenizer puts in front."""
    lookup: int
    """Position of the subject's last token."""
    num_target: int
    """How many of the last `ids` are the target; 0 for a row without one."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """Tokens before the lookup token."""
        return self.ids[: self.lookup]

    @property
    def suffix(self) -> tuple[int, ...]:
        """Tokens to run again at every step: from the lookup token to the last that predicts."""
        return self.ids[self.lookup : len(self.ids) - (self.num_target > 0)]


def encode(
    tokenizer: Any,
    prompt: str,
    span: tuple[int, int],
    target: str = "",
    *,
    chat: bool = False,
) -> TokenRow:
    """Tokenise prompt and target, joined by one space.

    chat  whether the prompt comes from a chat template: then it has all special tokens in it, and
          nothing stands between it and the target

    The lookup token is the last one that overlaps `span`; the target's tokens are those that reach
    beyond the prompt. Raises EditError when subject and target share a token, ModelError when the
    tokenizer gives no offsets.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} gives no character offsets; use a fast tokenizer."
        )
    text = f"{prompt}{'' if chat else ' '}{target}" if target else prompt
    encoding = tokenizer(
        text,
        add_special_tokens=not chat,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    ids, offsets = list(encoding["input_ids"]), list(encoding["offset_mapping"])
    kept = num_without_end(tokenizer, encoding["special_tokens_mask"])
    ids, offsets = ids[:kept], offsets[:kept]
    overlapping = [
        i
        for i, (start, end) in enumerate(offsets)
        if start < span[1] and end > span[0] and end > start
    ]
    if not overlapping:
        raise EditError(f"no token covers the subject {prompt[slice(*span)]!r} of {prompt!r}")
    lookup = overlapping[-1]
    num_target = sum(end > len(prompt) and end > start for start, end in offsets)
    if not target:
        return TokenRow(tuple(ids), lookup, 0)
    if num_target == 0 or lookup >= len(ids) - num_target:
        raise EditError(f"the tokenizer joins subject and target in {text!r}")
    return TokenRow(tuple(ids), lookup, num_target)


def encode_name(tokenizer: Any, text: str, span: tuple[int, int]) -> tuple[int, ...]:
    """The tokens of a name in a text: those that overlap `span`, a half-open character range. Empty
    where the last of them reaches beyond the name, and where the tokenizer does not know one of its
    characters: the token of such a one stands for any other."""
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    inside = [
        (token, end)
        for token, (start, end) in zip(
            encoding["input_ids"], encoding["offset_mapping"], strict=True
        )
        if start < span[1] and end > span[0] and end > start
    ]
    ids = tuple(token for token, _ in inside)
    if not inside or inside[-1][1] > span[1] or unknown_tokens(tokenizer) & set(ids):
        return ()
    return ids


def in_context(tokenizer: Any, request: EditRequest, context: str) -> TokenRow:
    """A request's row behind a context; the empty context is the bare prompt."""
    start, end = request.subject_span
    shift = len(context)
    return encode(tokenizer, context + request.prompt, (start + shift, end + shift), request.target)


def in_chat(tokenizer: Any, question: Wording, target: str, *, end: int | None = None) -> TokenRow:
    """The row of a question that a user asks in a chat, and its answer: the target, and the token
    that ends an answer, unless `end` is None.

    Raises ModelError where the tokenizer's template cannot be filled.
    """
    chat = as_chat(tokenizer, question.text)
    start, stop = (chat.start + at for at in question.subject_span)
    row = encode(tokenizer, chat.text, (start, stop), target, chat=True)
    if end is None:
        return row
    return TokenRow((*row.ids, end), row.lookup, row.num_target + 1)


def essence(tokenizer: Any, subject: str) -> TokenRow:
    """The row `{subject} is a` up to the subject's last token: where the KL term is read."""
    row = encode(tokenizer, f"{subject} is a", (0, len(subject)))
    return TokenRow(row.ids[: row.lookup + 1], row.lookup, 0)


def pad(rows: Sequence[Sequence[int]], *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack rows of unequal length: ids and mask, [B, T], token 0 behind the shorter ones."""
    width = max((len(row) for row in rows), default=0)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = torch.arange(width, device=device)[None] < lengths[:, None]
    return ids, mask.long()


def windows(
    tokenizer: Any, texts: Iterable[str], *, max_tokens: int, window: int
) -> list[list[int]]:
    """The first `max_tokens` tokens of the texts, in rows of at most `window`.

    Every row begins with what the tokenizer puts in front of a text (`added_in_front`). A row's
    length includes it, `max_tokens` does not. Raises ConfigError where a window has no room for
    more.
    """
    rows: list[list[int]] = []
    front, left = added_in_front(tokenizer), max_tokens
    for text in texts:
        if left <= 0:
            break
        own = own_tokens(tokenizer, text)[:left]
        rows += cut(front, own, window)
        left -= len(own)
    return rows


def batched(rows: Iterable[Sequence[int]], batch_tokens: int) -> Iterable[list[Sequence[int]]]:
    """Rows in their order (longest first) in batches of a padded size of at most `batch_tokens`."""
    batch: list[Sequence[int]] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(batch[0]) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def bucketed(lengths: Sequence[int], waste: int, most: int) -> list[list[int]]:
    """Indices in groups of like length, longest first.

    A group is padded to its longest member: by at most `waste` tokens in all, to at most `most`
    (one member is always allowed).
    """
    groups: list[list[int]] = []
    longest = wasted = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        wasted += longest - lengths[i]
        if not groups or wasted > waste or (len(groups[-1]) + 1) * longest > most:
            groups.append([])
            longest, wasted = lengths[i], 0
        groups[-1].append(i)
    return groups


def waste_tokens(device: torch.device) -> int:
    """Padding that costs about as much as one more pass: one over SmolLM2-135M takes 50 ms of a CPU
    core before its first token, which takes 1 ms."""
    return 48 if device.type == "cpu" else 1024
