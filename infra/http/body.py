"""The body of a response, out of the pieces in which it comes: unpacked, whole, and bounded."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

GZIP = ("gzip", "x-gzip")


class Oversize(Exception):
    """More bytes than the cap, packed or unpacked."""


class Damaged(Exception):
    """Not what its Content-Encoding says, or cut off."""


def unpack(chunks: Iterable[bytes], coding: str, max_bytes: int) -> bytes:
    """The body, never holding much more than `max_bytes` whatever it would unpack to.

    coding  value of Content-Encoding

    Raises Oversize, Damaged.
    """
    if coding in GZIP:
        return _gunzip(chunks, max_bytes)
    if coding not in ("", "identity"):
        raise Damaged(f"its Content-Encoding {coding[:40]!r} was not asked for")
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise Oversize
    return bytes(body)


def _gunzip(chunks: Iterable[bytes], max_bytes: int) -> bytes:
    """Every member of a gzip stream (RFC 1952 section 2.2); one byte over the cap shows a bomb."""
    body, num_packed = bytearray(), 0
    machine = None
    for chunk in chunks:
        num_packed += len(chunk)
        while chunk:
            machine = machine or zlib.decompressobj(31)
            try:
                body += machine.decompress(chunk, max_bytes + 1 - len(body))
            except zlib.error as error:
                raise Damaged(f"it is not gzip ({error})") from error
            if max(len(body), num_packed) > max_bytes:
                raise Oversize
            chunk = machine.unused_data or machine.unconsumed_tail
            if machine.eof:
                machine = None
    if machine is not None:
        raise Damaged(f"its gzip ends early, after {num_packed} bytes")
    return bytes(body)
