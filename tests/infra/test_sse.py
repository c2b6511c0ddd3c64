"""Server-sent events as the WHATWG's HTML standard reads them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import AnswerError
from infra.sse import MAX_EVENT_BYTES, Event, read_events

STREAM = (
    "\ufeff:ok\n\nid: [1]\ndata: a\ndata:  b\n\nevent: end\rdata:c\r\rid: bad\0id\r\n"
    "data: d\r\n\r\nretry: 5\nunknown: x\n\ndata: cut off"
)
EVENTS = [
    Event("[1]", "message", "a\n b"),
    Event("[1]", "end", "c"),
    Event("[1]", "message", "d"),
]


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=12))
def test_the_events_do_not_depend_on_how_the_bytes_come(cuts):
    """In one piece or cut anywhere, also inside CRLF, the mark of the encoding or a character."""
    raw = STREAM.encode()
    bounds = [0, *sorted(cuts), len(raw)]
    chunks = [raw[a:b] for a, b in itertools.pairwise(bounds)]
    assert list(read_events(chunks, "here")) == EVENTS


def test_an_event_without_end_is_refused():
    """As one line or as many, before it fills the memory."""
    for chunk in (b"x" * 65536, b"data: " + b"x" * 65500 + b"\n"):
        taken = []

        def endless(chunk=chunk, taken=taken):
            while True:
                taken.append(len(chunk))
                yield chunk

        with pytest.raises(AnswerError, match=r"here sends an? (line|event) of"):
            list(read_events(endless(), "here"))
        assert sum(taken) <= MAX_EVENT_BYTES + 2 * 65536
