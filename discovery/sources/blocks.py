"""Pieces of a file -> blocks of whole lines, each small enough for a worker to hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from discovery.sources.observation import MAX_SAMPLE, Skip
from infra.errors import DamageError

LINE_END = b"\n"
BLOCK_BYTES = 8 << 20
MAX_LINE_BYTES = 16 << 20
"""The longest line of a Wikidata dump had about 5 MB in 2024."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A run of whole lines of a bulk source."""

    id: str
    """Its number among the blocks; safe as a file name."""
    as_of: date
    """The day at whose end (UTC) the state is wanted."""
    lines: bytes
    num_lines: int
    skips: tuple[Skip, ...] = ()
    """What was lost between the block before and this one, or behind the last."""
    damaged: bool = False
    """Whether the file could not be read to its end; then this is the last block."""

    def after(self, skip: Skip) -> Block:
        """A block behind the last one, of no lines, that says what is wrong with the file."""
        number = f"{int(self.id) + 1:0{len(self.id)}d}"
        return replace(self, id=number, lines=b"", num_lines=0, skips=(skip,))


def read_blocks(
    pieces: Iterator[bytes],
    source: str,
    as_of: date,
    *,
    block_bytes: int,
    max_line_bytes: int,
) -> Iterator[Block]:
    """Blocks of about `block_bytes`, cut at the ends of lines wherever the pieces end.

    A line longer than `max_line_bytes` is passed over, and counted, as is what a damaged file holds
    behind its damage. Memory holds a block and the longest line.
    """
    cutter = _Cutter(source, max_line_bytes)
    number = num_lines = 0
    damaged = False
    try:
        for piece in pieces:
            cutter.add(piece)
            if cutter.size >= block_bytes and (lines := cutter.cut()):
                block = cutter.block(number, as_of, lines)
                number, num_lines = number + 1, num_lines + block.num_lines
                yield block
                del block, lines
    except DamageError as error:
        damaged = True
        lines = cutter.cut()
        sample = f"all that follows line {num_lines + count_lines(lines)}"
        cutter.skips.append(Skip(source, f"{error}: the rest is lost", sample))
    else:
        lines = cutter.cut() + cutter.rest()
    if lines or cutter.skips:
        yield replace(cutter.block(number, as_of, lines), damaged=damaged)


class _Cutter:
    """Bytes that were read and not yet given on."""

    def __init__(self, source: str, max_line_bytes: int) -> None:
        self.source, self.max_line_bytes = source, max_line_bytes
        self.skips: list[Skip] = []
        self.size = 0
        self._pieces: list[bytes] = []
        self._tail = 0
        """Bytes since the last end of a line."""
        self._in_long = False
        """Whether they belong to a line that is passed over."""

    def add(self, piece: bytes) -> None:
        if self._in_long:
            end = piece.find(LINE_END) + 1
            if not end:
                return
            piece, self._in_long = piece[end:], False
        self._pieces.append(piece)
        self.size += len(piece)
        end = piece.rfind(LINE_END) + 1
        self._tail = len(piece) - end if end else self._tail + len(piece)
        if self._tail > self.max_line_bytes:
            self._pass_over()

    def cut(self) -> bytes:
        """The whole lines that are held."""
        behind: list[bytes] = []
        left = self._tail
        while left:
            piece = self._pieces.pop()
            if len(piece) > left:
                self._pieces.append(piece[:-left])
                piece = piece[-left:]
            behind.append(piece)
            left -= len(piece)
        lines = b"".join(self._pieces)
        self._pieces, self.size = behind[::-1], self._tail
        return lines

    def rest(self) -> bytes:
        """A last line without an end."""
        data = b"".join(self._pieces)
        self._pieces, self.size, self._tail = [], 0, 0
        return data

    def block(self, number: int, as_of: date, lines: bytes) -> Block:
        skips, self.skips = tuple(self.skips), []
        count = count_lines(lines)
        return Block(id=f"{number:07d}", as_of=as_of, lines=lines, num_lines=count, skips=skips)

    def _pass_over(self) -> None:
        lines = self.cut()
        sample = b"".join(self._pieces)[:MAX_SAMPLE].decode(errors="replace")
        self.skips.append(Skip(self.source, too_long(self.max_line_bytes), sample))
        self._pieces, self.size, self._tail = [lines] if lines else [], len(lines), 0
        self._in_long = True


def too_long(max_line_bytes: int) -> str:
    """The reason of a line that is passed over."""
    return f"line is longer than {max_line_bytes} bytes"


def split_lines(lines: bytes) -> Iterator[bytes]:
    """Lines without their ends, one at a time: each is used while it is in the cache."""
    start = 0
    while (end := lines.find(LINE_END, start)) >= 0:
        yield lines[start:end]
        start = end + 1
    if start < len(lines):
        yield lines[start:]


def count_lines(lines: bytes) -> int:
    """Lines, with a last one that has no end. Of long lines faster than `bytes.count`."""
    count, end = 0, lines.find(LINE_END)
    while end >= 0:
        count, end = count + 1, lines.find(LINE_END, end + 1)
    return count + (bool(lines) and not lines.endswith(LINE_END))
