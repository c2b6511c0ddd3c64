"""Read the body of a response from its chunks: decompressed, complete and of bounded size."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

GZIP = ("gzip", "x-gzip")
"""Values of Content-Encoding that mean gzip."""


class BodyTooLarge(Exception):
    """The body has more bytes than allowed, before or after decompression."""


class BodyDamaged(Exception):
    """The body is not in the format that its Content-Encoding names, or it ends early."""


def read_body(chunks: Iterable[bytes], coding: str, max_bytes: int) -> bytes:
    """The decompressed body. Memory stays near `max_bytes`, whatever the body would decompress to.

    chunks     the body as it comes from the network
    coding     value of Content-Encoding, in lower case
    max_bytes  largest body, both before and after decompression

    Raises BodyTooLarge, BodyDamaged.
    """
    if coding in GZIP:
        return _gunzip(chunks, max_bytes)
    if coding not in ("", "identity"):
        raise BodyDamaged(f"its Content-Encoding {coding[:40]!r} was not asked for")
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLarge
    return bytes(body)


def _gunzip(chunks: Iterable[bytes], max_bytes: int) -> bytes:
    """Decompress every member of a gzip stream (RFC 1952 section 2.2).

    At most one byte more than `max_bytes` is decompressed, which is enough to see an excess.
    """
    body, num_compressed = bytearray(), 0
    decoder = None
    for chunk in chunks:
        num_compressed += len(chunk)
        while chunk:
            decoder = decoder or zlib.decompressobj(31)
            try:
                body += decoder.decompress(chunk, max_bytes + 1 - len(body))
            except zlib.error as error:
                raise BodyDamaged(f"it is not gzip ({error})") from error
            if max(len(body), num_compressed) > max_bytes:
                raise BodyTooLarge
            chunk = decoder.unused_data or decoder.unconsumed_tail
            if decoder.eof:
                decoder = None
    if decoder is not None:
        raise BodyDamaged(f"its gzip ends early, after {num_compressed} bytes")
    return bytes(body)
