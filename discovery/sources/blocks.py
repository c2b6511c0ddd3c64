"""Divide a file into blocks of whole lines, each small enough for a worker's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from discovery.sources.observation import MAX_SAMPLE, Skip
from infra.errors import DamageError

LINE_END = b"\n"
BLOCK_BYTES = 8 << 20
"""Bytes of a block, about."""
MAX_LINE_BYTES = 16 << 20
"""Bytes of the longest line; the longest of a Wikidata dump had about 5 MB in 2024."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive whole lines of a bulk source."""

    id: str
    """Its number among the blocks; safe as a file name."""
    as_of: date
    """The facts wanted are those at the end of this day (UTC)."""
    lines: bytes
    num_lines: int
    skips: tuple[Skip, ...] = ()
    """Parts of the file that were dropped since the block before, or, of the last, behind it."""
    damaged: bool = False
    """Whether the file could not be read beyond this block, which then is the last one."""

    def after(self, skip: Skip) -> Block:
        """A block without lines after this one, which reports what is wrong with the file."""
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
    """Yield the lines of a file in blocks.

    pieces          the file's bytes, divided anywhere
    source          name of the source, for skips
    as_of           day of every block
    block_bytes     bytes of a block, about: a block ends at the end of a line
    max_line_bytes  bytes of the longest line; a longer one is dropped, and counted as a skip

    Where `pieces` raises DamageError, the lines before it are yielded and the rest is counted as a
    skip. Memory holds one block and the longest line.
    """
    buffer = _LineBuffer(source, max_line_bytes)
    number = num_lines = 0
    damaged = False
    try:
        for piece in pieces:
            buffer.add(piece)
            if buffer.size >= block_bytes and (lines := buffer.take_lines()):
                block = buffer.block(number, as_of, lines)
                number, num_lines = number + 1, num_lines + block.num_lines
                yield block
                del block, lines
    except DamageError as error:
        damaged = True
        lines = buffer.take_lines()
        sample = f"all that follows line {num_lines + count_lines(lines)}"
        buffer.skips.append(Skip(source, f"{error}: the rest is lost", sample, damage=True))
    else:
        lines = buffer.take_lines() + buffer.take_rest()
    if lines or buffer.skips:
        yield replace(buffer.block(number, as_of, lines), damaged=damaged)


class _LineBuffer:
    """Bytes that were read and are not in a block yet."""

    def __init__(self, source: str, max_line_bytes: int) -> None:
        self.source, self.max_line_bytes = source, max_line_bytes
        self.skips: list[Skip] = []
        self.size = 0
        self._pieces: list[bytes] = []
        self._tail = 0
        """Number of bytes since the last end of a line."""
        self._in_long = False
        """Whether the next bytes belong to a line that is dropped."""

    def add(self, piece: bytes) -> None:
        """Add the next bytes of the file; drop a line that gets too long."""
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
            self._drop_long_line()

    def take_lines(self) -> bytes:
        """Remove the complete lines, and return them."""
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

    def take_rest(self) -> bytes:
        """Remove what is left, a last line without a line end, and return it."""
        data = b"".join(self._pieces)
        self._pieces, self.size, self._tail = [], 0, 0
        return data

    def block(self, number: int, as_of: date, lines: bytes) -> Block:
        """A block of the given lines, with the skips since the block before."""
        skips, self.skips = tuple(self.skips), []
        count = count_lines(lines)
        return Block(id=f"{number:07d}", as_of=as_of, lines=lines, num_lines=count, skips=skips)

    def _drop_long_line(self) -> None:
        """Drop the line that is too long, count it as a skip, and keep the lines before it."""
        lines = self.take_lines()
        sample = b"".join(self._pieces)[:MAX_SAMPLE].decode(errors="replace")
        self.skips.append(Skip(self.source, too_long(self.max_line_bytes), sample, damage=True))
        self._pieces, self.size, self._tail = [lines] if lines else [], len(lines), 0
        self._in_long = True


def too_long(max_line_bytes: int) -> str:
    """The reason for the skip of a line that is too long."""
    return f"line is longer than {max_line_bytes} bytes"


def split_lines(lines: bytes) -> Iterator[bytes]:
    """Lines without their line ends, one at a time, so that each is used while it is in the CPU's
    cache."""
    start = 0
    while (end := lines.find(LINE_END, start)) >= 0:
        yield lines[start:end]
        start = end + 1
    if start < len(lines):
        yield lines[start:]


def count_lines(lines: bytes) -> int:
    """Number of lines, counting a last one without a line end.

    For long lines this is faster than `bytes.count`.
    """
    count, end = 0, lines.find(LINE_END)
    while end >= 0:
        count, end = count + 1, lines.find(LINE_END, end + 1)
    return count + (bool(lines) and not lines.endswith(LINE_END))
