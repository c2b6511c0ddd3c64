"""Put each object of a JSON text on a line of its own, whatever its layout, piece by piece.

Programs write an array of objects with an object a line, indented over many lines, or in one line
without an end. A reader of lines takes all of them once their line ends are moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from infra.errors import DamageError

HEAD_BYTES = 1 << 16
"""Bytes of the beginning by which the layout is told."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OBJECT_A_LINE = re.compile(rb'\s*(?:\[[ \t\r]*\n\s*)?\{[ \t]*"[^\r\n]*')
_ANY_LAYOUT = re.compile(rb"\s*(?:\[\s*)?\{")
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_INSIDE, _BETWEEN = re.compile(rb'["{}\r\n]'), re.compile(rb'["{},\[\]\r\n]')
"""Where something may change, within an object and between objects."""


def objects_by_line(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a file, divided anywhere, with one of its outermost objects in each line.

    A file that begins so already is passed on as it is, without a byte order mark. Memory holds the
    beginning and one piece. An error of the pieces is raised behind what came before it.
    """
    rest = iter(pieces)
    head, damage = b"", None
    try:
        while len(head) < HEAD_BYTES and (piece := next(rest, None)) is not None:
            head += piece
    except DamageError as error:
        damage = error
    head = head.removeprefix(BYTE_ORDER_MARK)
    whole = chain((head,) if head else (), rest)
    yield from _moved(whole) if _ANY_LAYOUT.match(head) and not _by_line(head) else whole
    if damage is not None:
        raise damage


def split_objects(text: bytes) -> list[bytes]:
    """The outermost objects of a text, and what is between them apart from commas."""
    return [line for part in b"".join(_moved([text])).splitlines() if (line := part.strip())]


def _by_line(head: bytes) -> bool:
    """Whether the first object of a file begins and ends in one line, as far as the head shows."""
    match = _OBJECT_A_LINE.match(head)
    return bool(match) and (match.end() == len(head) or match[0].rstrip(b" \t,").endswith(b"}"))


def _moved(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes with a line end behind each outermost object, and none inside."""
    depth, in_string, carried = 0, False, b""
    for more in pieces:
        piece, at, start = carried + more, 0, 0
        out: list[bytes] = []
        while True:
            if in_string:
                end = _REST_OF_STRING.match(piece, at)
                assert end is not None
                at = end.end()
                if not end[1]:  # the string, or an escape in it, goes on in the next piece
                    break
                in_string = False
            found = (_INSIDE if depth else _BETWEEN).search(piece, at)
            if found is None:
                at = len(piece)
                break
            mark, at = found[0], found.end()
            if mark == b'"':
                in_string = True
                continue
            depth = max(0, depth + (mark == b"{") - (mark == b"}"))
            if mark in b"\r\n,":
                out += [piece[start : at - 1], b" " if depth or mark == b"," else b"\n"]
                start = at
            elif not depth:  # behind an object, and around a bracket between objects
                out += [piece[start:at], b"\n"]
                start = at
        yield b"".join([*out, piece[start:at]])
        carried = piece[at:]
    if carried:
        yield carried
