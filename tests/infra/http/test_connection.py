"""Bodies that are too large, too slow, cut off or hostile, from a real server on loopback."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
import zlib
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import SkippedTime
from raw_server import Answer, RawServer, answer

from infra.errors import AnswerError, SourceError
from infra.http.body import BodyDamaged, BodyTooLarge, read_body
from infra.http.client import PoliteClient

JSON = {"Content_Type": "application/json"}
GZIP = {"Content_Encoding": "gzip"}


def client(**options: Any) -> PoliteClient:
    settings = {"min_interval_s": 0.0, "max_body_bytes": 2**20, **options}
    return PoliteClient(
        source="s", contact="a@b.org", rate_limit=SkippedTime().rate_limit(), **settings
    )


def fails(answers: list[Answer], words: str, **options: Any) -> tuple[SourceError, int]:
    """The error of a GET that gets these answers, one line with these words; how many it took."""
    server = RawServer(answers)
    with (
        server as base,
        client(**options) as http,
        pytest.raises(SourceError, match=words) as caught,
    ):
        http.decode(http.get(base))
    text = str(caught.value)
    assert text.startswith("source s: ") and "\n" not in text and len(text) < 400
    return caught.value, len(server.requests)


@given(
    st.lists(st.binary(max_size=60), max_size=4),
    st.lists(st.integers(0, 300), max_size=5),
    st.booleans(),
)
def test_unpacking_is_gzips(members: list[bytes], cuts: list[int], packed: bool) -> None:
    """However it is cut, in however many members, it is what the gzip module says; under a cap of
    its size it is whole, and under any smaller one refused.
    """
    plain = b"".join(members)
    body = b"".join(map(gzip.compress, members)) if packed else plain
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[a:b] for a, b in itertools.pairwise(bounds)]
    coding = "gzip" if packed else ""
    assert read_body(chunks, coding, max(len(plain), len(body))) == plain
    if plain:
        with pytest.raises(BodyTooLarge):
            read_body(chunks, coding, len(plain) - 1)


@given(st.binary(min_size=1, max_size=80), st.data())
def test_a_cut_gzip_is_never_taken_for_whole(plain: bytes, data: st.DataObject) -> None:
    """Any beginning of it that is not all of it is damaged."""
    body = gzip.compress(plain)
    cut = data.draw(st.integers(1, len(body) - 1))
    with pytest.raises(BodyDamaged):
        read_body([body[:cut]], "gzip", 2**20)


@pytest.mark.parametrize("status", [200, 302])
def test_a_bomb_is_refused_before_it_goes_off(status: int) -> None:
    """Zeros a thousand times the size of their gzip cost less than ten times the cap, also as the
    body of a redirect.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    tracemalloc.start()
    try:
        location = {"Location": "/x"} if status == 302 else {}
        error, _ = fails([answer(status, bomb, **GZIP, **location)], "more than 1048576 bytes")
        assert isinstance(error, AnswerError)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def dripping(*before: bytes | float) -> Answer:
    """Half a minute of bytes, none of which is long in coming."""
    return [*before, *[b"x", 0.05] * 600]


@pytest.mark.parametrize(
    "slow",
    [
        dripping(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;"),
    ],
    ids=["headers", "body", "body without length", "size of a chunk"],
)
def test_a_slow_loris_is_cut_off(slow: Answer) -> None:
    """Bytes that come steadily, and never end, end at the deadline; it is not tried again."""
    began = monotonic()
    _, num = fails([slow] * 3, "not answered in full after 0.5 s", deadline_s=0.5)
    assert num == 1 and monotonic() - began < 10


@pytest.mark.parametrize(
    "cut",
    [
        answer(200, b'{"a": 1}', Content_Length="80", **JSON),
        answer(200, b'8\r\n{"a": 1}\r\n', Transfer_Encoding="chunked", **JSON),
        answer(200, gzip.compress(b'{"a": 1}' * 9)[:-9], **JSON, **GZIP),
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [],
    ],
    ids=["length", "chunked", "gzip", "headers", "nothing"],
)
def test_a_body_that_is_cut_off_is_asked_for_again(cut: Answer) -> None:
    """What is not whole is never handed out: asked for again, and an error if it stays so."""
    whole = answer(200, b'{"a": 1}', **JSON)
    with RawServer([cut, cut, whole]) as base, client() as http:
        value, page = http.get_json(base)
    assert value == {"a": 1} and page.body == b'{"a": 1}'
    _, num = fails([cut] * 3, "broke off|damaged|cannot reach")
    assert num == 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        ('{"a": 1}'.encode("utf-16"), "codec can't decode"),
        ('{"a": 1}'.encode("utf-16-le"), "broken JSON"),
        (b'{"a": "\xff"}', "codec can't decode"),
        (b"9" * 5000, "broken JSON"),
        (b"", "broken JSON of 0 bytes"),
    ],
)
def test_hostile_json_is_one_clear_line(body: bytes, words: str) -> None:
    """What is no JSON by RFC 8259 is an AnswerError, whatever Python would make of it."""
    error, num = fails([answer(200, body, **JSON)], words)
    assert isinstance(error, AnswerError) and num == 1


def test_an_encoding_that_was_not_asked_for_is_no_body() -> None:
    """Bytes that we cannot read are not handed out as if we could."""
    error, _ = fails([answer(200, b"zz", Content_Encoding="br")] * 3, "'br' was not asked for")
    assert isinstance(error, AnswerError)
