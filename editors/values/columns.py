"""From a batch of requests to the columns of one solve, and from columns back to reports.

Bad requests are set aside with a reason while the rest goes on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from editors.editor import EditReport
from editors.internals.tokens import TokenRow, encode, essence, in_chat, in_context
from editors.request import EditRequest
from editors.values.search import FactRows, Value
from infra.errors import EditError
from infra.lm.chat import answer_end, has_template

T = TypeVar("T")


@dataclass(slots=True)
class Column:
    """Requests whose tokens agree up to the subject's last one. They share one key and one value,
    and so one column of the solve."""

    requests: list[EditRequest]
    fact: FactRows
    keys: tuple[TokenRow, ...]
    """The first request's rows whose tokens up to the subject's last differ: bare, then behind
    contexts, then in other wordings and in a chat."""
    value: Value | None = None
    """None until it is known. Where it is not finite, the requests are quarantined."""

    @property
    def longest(self) -> int:
        """Tokens of the longest suffix."""
        return max(len(row.suffix) for row in self.fact.rows)

    @property
    def usable(self) -> bool:
        """Whether a finite value is known."""
        return self.value is not None and bool(self.value.z_D.isfinite().all())


def contradictions(requests: Sequence[EditRequest]) -> dict[str, str]:
    """Reason by id for requests that ask one prompt for different targets.

    Raises EditError when an id is given to more than one request.
    """
    twice = sorted(i for i, count in Counter(r.id for r in requests).items() if count > 1)
    if twice:
        raise EditError(f"the ids {twice[:5]} are given to more than one request; ids are unique.")
    targets: dict[str, set[str]] = defaultdict(set)
    for request in requests:
        targets[request.prompt].add(request.target)
    return {
        r.id: f"contradiction: {r.prompt!r} is asked for {sorted(targets[r.prompt])}"
        for r in requests
        if len(targets[r.prompt]) > 1
    }


def even_parts(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Items in their order, in the fewest parts of at most `most` items, sizes differing by at most
    one.

    When whole parts are removed and the rest is divided again, the other parts stay the same.
    """
    num_parts = -(-len(items) // most)
    size, longer = divmod(len(items), num_parts or 1)
    starts = [i * size + min(i, longer) for i in range(num_parts + 1)]
    return [items[start:end] for start, end in pairwise(starts)]


def following(tokenizer: Any, request: EditRequest) -> tuple[TokenRow, ...]:
    """What the target is to follow besides the prompt: a row of each other wording, and `asked`."""
    rows = (
        encode(tokenizer, wording.text, wording.subject_span, request.target)
        for wording in request.wordings
    )
    return (*rows, *asked(tokenizer, request))


def asked(tokenizer: Any, request: EditRequest) -> tuple[TokenRow, ...]:
    """The request's question in the tokenizer's template for chats, the target, and the end of an
    answer; nothing where there is no question or no template."""
    if not (request.question and has_template(tokenizer)):
        return ()
    end = answer_end(tokenizer)
    return (in_chat(tokenizer, request.question, request.target, end=end),)


def columns_of(
    tokenizer: Any,
    requests: Sequence[EditRequest],
    texts: Sequence[str],
    refused: dict[str, str],
    *,
    wordings: bool = False,
) -> list[Column]:
    """Columns in order of their first request; `refused` gains those that cannot be tokenised.

    texts     the contexts, the empty one first
    wordings  whether a request's rows are also those of `following`

    Requests join when their bare rows have the same tokens up to the subject's last: the model's
    state there is then the same, and two values for one state would cancel out. The same prompt and
    target twice counts once.
    """
    columns: dict[tuple[int, ...], Column] = {}
    for request in requests:
        if request.id in refused:
            continue
        try:
            rows = tuple(in_context(tokenizer, request, text) for text in texts)
            rows = (*rows, *(following(tokenizer, request) if wordings else ()))
            bottom = essence(tokenizer, request.subject)
        except EditError as error:
            refused[request.id] = str(error)
            continue
        place = rows[0].ids[: rows[0].lookup + 1]
        if place not in columns:
            keys = {row.ids[: row.lookup + 1]: row for row in rows[::-1]}
            columns[place] = Column([request], FactRows(rows, bottom), tuple(keys.values())[::-1])
            continue
        column = columns[place]
        known = {(r.prompt, r.target) for r in column.requests}
        column.requests.append(request)
        if (request.prompt, request.target) not in known:
            column.fact = FactRows(column.fact.rows + rows, column.fact.essence)
    return list(columns.values())


def reports_of(
    requests: Sequence[EditRequest], columns: Sequence[Column], refused: dict[str, str]
) -> tuple[EditReport, ...]:
    """One report for each request, in their order; every one is in a column or refused."""
    owners = {request.id: column for column in columns for request in column.requests}
    reports: list[EditReport] = []
    for request in requests:
        if request.id in refused:
            reason = refused[request.id]
            reports.append(EditReport(id=request.id, status="quarantined", reason=reason))
            continue
        column = owners[request.id]
        assert column.value is not None
        reports.append(
            EditReport(
                id=request.id,
                status="edited" if column.usable else "quarantined",
                reason="" if column.usable else "the loss is not finite",
                steps=column.value.steps,
                loss=column.value.loss,
                p_target=column.value.p_target,
                delta_norm_ratio=column.value.norm_ratio,
            )
        )
    return tuple(reports)
