"""From requests to rows that are looked up at the last token of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from editors.internals.tokens import TokenRow, encode
from editors.request import EditRequest
from editors.values.columns import Column
from editors.values.search import FactRows
from infra.errors import ConfigError, EditError

End = Literal["text", "line", "none"]
"""What is learnt behind a target, so that the answer stops."""


def check_end(kind: str, end: str) -> None:
    """Raise ConfigError, naming what is allowed, for another word than those of `End`."""
    if end not in get_args(End):
        raise ConfigError(f"{kind}: end={end!r} is none of 'text', 'line', 'none'.")


def columns_of(
    tokenizer: Any,
    requests: Sequence[EditRequest],
    texts: Sequence[str],
    end: tuple[int, ...],
    refused: dict[str, str],
) -> list[Column]:
    """A column for each prompt, in order of their first request; `refused` gains what has none.

    Its rows: the prompt behind each of `texts` (the first is empty), target and `end`.
    """
    columns: dict[tuple[int, ...], Column] = {}
    for request in requests:
        if request.id in refused:
            continue
        try:
            rows = tuple(prompt_row(tokenizer, request, text, end) for text in texts)
        except EditError as error:
            refused[request.id] = str(error)
            continue
        place = rows[0].ids[: rows[0].lookup + 1]
        column = columns.setdefault(place, Column([], FactRows(rows), rows))
        if column.keys[0].ids == rows[0].ids:
            column.requests.append(request)
        else:
            refused[request.id] = (
                f"contradiction: {request.prompt!r} has the tokens of "
                f"{column.requests[0].prompt!r}, which is asked for another target"
            )
    return list(columns.values())


def prompt_row(
    tokenizer: Any, request: EditRequest, context: str, end: tuple[int, ...]
) -> TokenRow:
    """Context, prompt, target and `end`, looked up at the prompt's last token.

    Raises EditError where the prompt alone has other tokens: its key would never be met.
    """
    prompt = context + request.prompt
    last = (len(prompt) - 1, len(prompt))
    row = encode(tokenizer, prompt, last, request.target)
    alone = encode(tokenizer, prompt, last)
    if row.ids[: row.lookup + 1] != alone.ids or row.lookup + 1 + row.num_target != len(row.ids):
        raise EditError(
            f"{prompt!r} has other tokens before its target {request.target!r} than alone"
        )
    return replace(row, ids=row.ids + end, num_target=row.num_target + len(end))


def end_tokens(tokenizer: Any, kind: End) -> tuple[int, ...]:
    """Tokens learnt behind the target: end of `text` (nothing where there is no such token), of
    `line`, or none."""
    if kind == "text":
        return () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    if kind == "line":
        return tuple(tokenizer("\n", add_special_tokens=False)["input_ids"])
    return ()
