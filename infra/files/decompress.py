"""Decompress a file piece by piece, and find out whether it is whole.

The format is recognised by the first bytes, not by the file's name: gzip (RFC 1952, also several
members one after the other), bzip2 (also several streams), Zstandard (RFC 8878, also several
frames), or no compression. The size of a piece is bounded, whatever a hostile file would decompress
to.
"""

from __future__ import annotations

import bz2
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
from isal import igzip_lib

from infra.errors import DamageError
from infra.files.regular import require_regular

READ_BYTES = 1 << 20
"""Bytes read from the file at a time."""
PIECE_BYTES = 96 << 10
"""Bytes of the largest piece. Larger blocks the C library would request from the system each time
anew, which costs more than the decompression. Before a damaged place up to so many good bytes may
be lost."""
_ISAL_ERROR = cast(type[Exception], igzip_lib.IsalError)
GZIP, BZIP2, ZSTD = b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd"
"""First bytes of each format."""
PACKED = (".gz", ".bz2", ".zst")
"""Suffixes of the names of compressed files."""


def suffix_of(name: str) -> str:
    """Suffix of a file name without that of its compression, in lower case: `.nt` of `d.nt.gz`."""
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in PACKED else path.suffix


def decompress(path: Path) -> Iterator[bytes]:
    """The file's decompressed content, in pieces of at most `PIECE_BYTES`.

    Raises DamageError where the compressed data ends early or is damaged, after yielding everything
    before that place; OSError where the file cannot be read or is no regular one.
    """
    require_regular(path)
    with path.open("rb") as stream:
        yield from decompress_stream(stream)


def decompress_stream(stream: BinaryIO) -> Iterator[bytes]:
    """`decompress` for an open file, which can be positioned."""
    head = stream.read(len(ZSTD))
    stream.seek(0)
    if head.startswith(GZIP):
        yield from _decompress(stream, GZIP, _gzip)
    elif head.startswith(BZIP2):
        yield from _decompress(stream, BZIP2, bz2.BZ2Decompressor)
    elif head.startswith(ZSTD):
        yield from _zstd(stream)
    else:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _gzip() -> Any:
    """A gzip decoder with the methods of bz2's; igzip is three times as fast as zlib."""
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _zstd(stream: BinaryIO) -> Iterator[bytes]:
    """Decompress frame after frame."""
    packed = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
    while True:
        try:
            piece = packed.read(PIECE_BYTES)
        except OSError as error:
            if error.errno is not None:  # the disk's, not the decoder's
                raise
            raise DamageError(f"the file is damaged ({str(error).rstrip('.')})") from error
        if not piece:
            return
        yield piece


def _decompress(stream: BinaryIO, magic: bytes, make_decoder: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress member after member. Zero bytes behind the last one are padding."""
    decoder = make_decoder()
    while True:
        if decoder.eof:
            rest = decoder.unused_data.lstrip(b"\0") or stream.read(READ_BYTES).lstrip(b"\0")
            while rest and len(rest) < len(magic) and (more := stream.read(READ_BYTES)):
                rest += more
            if not rest:
                return
            if not rest.startswith(magic):
                raise DamageError("something else than packed data follows")
            decoder = make_decoder()
        else:
            rest = stream.read(READ_BYTES) if decoder.needs_input else b""
            if decoder.needs_input and not rest:
                raise DamageError("the file ends in the middle")
        try:
            piece = decoder.decompress(rest, PIECE_BYTES)
        except (OSError, EOFError, ValueError, _ISAL_ERROR) as error:
            raise DamageError(f"the file is damaged ({str(error).rstrip('.')})") from error
        if piece:
            yield piece
