"""Server-sent events: from the bytes of a `text/event-stream` body to events.

As WHATWG HTML section 9.2.6 reads them: UTF-8 with one optional BOM, lines that end in CR, LF or
CRLF, fields `event`, `data`, `id` and `retry`, comments, an event at each blank line if it has
data. What the stream ends in without a blank line is no event. Lines and events are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from infra.errors import SourceError

MAX_LINE_BYTES = 2**20
"""A hundred times a usual event of Wikimedia's; also of what comes without any line end."""
MAX_EVENT_BYTES = 4 * 2**20
"""Of all data lines of one event."""
_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a browser would dispatch it."""

    id: str
    """The last id the stream gave, which need not be in this event; "" before the first."""
    event: str
    """Its type, `message` where the stream names none."""
    data: str
    """The data lines, joined with newlines."""
    retry_ms: int | None = None
    """The last reconnection time that the stream asked for."""


def read_events(
    chunks: Iterable[bytes],
    where: str,
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    max_event_bytes: int = MAX_EVENT_BYTES,
) -> Iterator[Event]:
    """The events of a body that comes in `chunks`, however it is cut, each as soon as it is whole.

    `where` begins the error's line. Raises SourceError for a line or an event over its bound.
    """
    last_id, kind, retry_ms = "", "", None
    data: list[str] = []
    num_bytes = 0
    for line in _lines(chunks, where, max_line_bytes):
        if not line:
            if data:
                yield Event(last_id, kind or "message", "\n".join(data), retry_ms)
            kind, data, num_bytes = "", [], 0
            continue
        field, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            num_bytes += len(raw)
            if num_bytes > max_event_bytes:
                raise SourceError(_too_large(where, "an event", max_event_bytes))
            data.append(value)
        elif field == b"event":
            kind = value
        elif field == b"id" and "\0" not in value:
            last_id = value
        elif field == b"retry" and re.fullmatch(r"[0-9]{1,9}", value):
            retry_ms = int(value)


def _lines(chunks: Iterable[bytes], where: str, max_line_bytes: int) -> Iterator[bytes]:
    """Whole lines without their ends; a last one that has no end is dropped."""
    rest, after_cr, first = bytearray(), False, True
    for chunk in chunks:
        if not chunk:
            continue
        if after_cr:
            chunk = chunk.removeprefix(b"\n")
        after_cr = chunk.endswith(b"\r")
        *ended, last = _END.split(chunk)
        for piece in ended:
            rest += piece
            _check(rest, where, max_line_bytes)
            yield bytes(rest).removeprefix(b"\xef\xbb\xbf") if first else bytes(rest)
            first = False
            rest.clear()
        rest += last
        _check(rest, where, max_line_bytes)


def _check(line: bytearray, where: str, max_line_bytes: int) -> None:
    if len(line) > max_line_bytes:
        raise SourceError(_too_large(where, "a line", max_line_bytes))


def _too_large(where: str, what: str, limit: int) -> str:
    return (
        f"{where} sends {what} of more than {limit} bytes. Check that the address is the event "
        "stream that you mean."
    )
