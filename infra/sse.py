"""Server-sent events: the lines of a response -> events (WHATWG HTML section 9.2.6).

A reader of bytes as they come: it holds one unfinished event at a time, whose size is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from infra.errors import AnswerError

MAX_EVENT_BYTES = 4 * 2**20
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event."""

    id: str | None
    """The last id that the stream has sent, verbatim: what `Last-Event-ID` goes on from."""
    event: str
    """Its type, `message` where it has none."""
    data: str


def read_events(chunks: Iterable[bytes], where: str) -> Iterator[Event]:
    """The events of a stream; one that its end cuts off is dropped, as the standard says.

    Raises AnswerError for an event of more than MAX_EVENT_BYTES; `where` is named in it.
    """
    last_id: str | None = None
    kind, data, size = "", [], 0
    for line in _lines(chunks, where):
        size += len(line)
        if size > MAX_EVENT_BYTES:
            raise AnswerError(f"{where} sends an event of more than {MAX_EVENT_BYTES} bytes.")
        if not line:
            if data:
                yield Event(last_id, kind or "message", "\n".join(data))
            kind, data, size = "", [], 0
            continue
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value


def _lines(chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Lines that end in CR, LF or CRLF, which a chunk may cut in two; the last one without an end
    is no line yet."""
    rest, begun = b"", False
    for chunk in chunks:
        text = rest + chunk
        if not begun:
            if len(text) < len(BOM) and BOM.startswith(text):
                rest = text
                continue
            begun, text = True, text.removeprefix(BOM)
        held = b"\r" if text.endswith(b"\r") else b""  # LF may follow
        text = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, last = text.split(b"\n")
        rest = last + held
        if len(rest) > MAX_EVENT_BYTES:
            raise AnswerError(f"{where} sends a line of more than {MAX_EVENT_BYTES} bytes.")
        yield from lines
    if rest.endswith(b"\r"):
        yield rest.removesuffix(b"\r")
