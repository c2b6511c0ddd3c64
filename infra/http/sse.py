"""Parse server-sent events from the bytes of a `text/event-stream` body.

The rules are those of WHATWG HTML section 9.2.6: UTF-8 with one optional BOM; lines end in CR, LF
or CRLF; the fields are `event`, `data`, `id` and `retry`; a line that begins with a colon is a
comment; a blank line ends an event, which counts if it has data. Data behind the last blank line is
dropped. The sizes of a line and of an event are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from infra.errors import SourceError

MAX_LINE_BYTES = 2**20
"""Bytes of the longest line: a hundred times a usual event of Wikimedia's."""
MAX_EVENT_BYTES = 4 * 2**20
"""Bytes of the data lines of one event, at most."""
_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as a browser would dispatch it."""

    id: str
    """The last id in the stream up to this event; empty before the first one."""
    event: str
    """Type of the event, `message` where the stream names none."""
    data: str
    """The data lines, joined with newlines."""
    retry_ms: int | None = None
    """The last reconnection time that the stream asked for, in milliseconds."""


def read_events(
    chunks: Iterable[bytes],
    where: str,
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    max_event_bytes: int = MAX_EVENT_BYTES,
) -> Iterator[Event]:
    """Yield each event as soon as it is complete.

    chunks           the body, divided anywhere
    where            begins the error: which source and address sends the stream
    max_line_bytes   bytes of the longest line
    max_event_bytes  bytes of the largest event

    Raises SourceError for a line or an event that is too large.
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
    """Complete lines without their line ends; text behind the last line end is dropped."""
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
            _check_length(rest, where, max_line_bytes)
            yield bytes(rest).removeprefix(b"\xef\xbb\xbf") if first else bytes(rest)
            first = False
            rest.clear()
        rest += last
        _check_length(rest, where, max_line_bytes)


def _check_length(line: bytearray, where: str, max_line_bytes: int) -> None:
    """Raises SourceError for a line that is too long."""
    if len(line) > max_line_bytes:
        raise SourceError(_too_large(where, "a line", max_line_bytes))


def _too_large(where: str, what: str, limit: int) -> str:
    """The message for `what` (a line, an event) above its limit of bytes."""
    return (
        f"{where} sends {what} of more than {limit} bytes. Check that the address is the event "
        "stream that you mean."
    )
