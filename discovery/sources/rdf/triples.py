"""An RDF file -> its triples, in the order of the file; what is none is counted and passed over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO, Any, cast

import pyoxigraph as ox

from discovery.sources.blocks import MAX_LINE_BYTES, read_blocks, split_lines
from discovery.sources.observation import MAX_SAMPLE, Skip
from infra.files.decompress import decompress

FORMATS = (".nt", ".ttl")
PACKED = (".gz", ".bz2")
READ_BYTES = 1 << 18
MAX_ERRORS = 10_000
"""In a row; then what follows is no RDF."""
MAX_TOGETHER = 10_000
"""Triples of a subject that are given at once."""


class Triples:
    """The triples of a file; what is none is a skip, and the next one is read."""

    def __init__(self, path: Path, source: str, as_of: date, skips: list[Skip]) -> None:
        self.source, self.skips, self.count = source, skips, 0
        bounds = {"block_bytes": READ_BYTES, "max_line_bytes": MAX_LINE_BYTES}
        self._blocks = read_blocks(decompress(path), source, as_of, **bounds)
        self._turtle = suffix_of(path.name) == ".ttl"
        self._rest = b""

    def __iter__(self) -> Iterator[tuple[Any, str, Any]]:
        if self._turtle:
            parsers = iter([ox.parse(cast(IO[bytes], self), format=ox.RdfFormat.TURTLE)])
        else:
            parsers = (ox.parse(text, format=ox.RdfFormat.N_TRIPLES) for text in self._texts())
        errors = 0
        for parser in parsers:
            while errors < MAX_ERRORS:
                try:
                    triple = next(parser)
                except StopIteration:
                    break
                except SyntaxError as error:
                    errors += 1
                    sample = " ".join(str(error).split())[:MAX_SAMPLE]
                    self.skips.append(Skip(self.source, "triple is malformed", sample))
                    continue
                errors, self.count = 0, self.count + 1
                yield triple.subject, triple.predicate.value, triple.object
        if errors >= MAX_ERRORS:
            self.skips.append(Skip(self.source, "what follows is no RDF: the rest is lost", ""))

    def read(self, size: int) -> bytes:
        """The next part of the file, for the parser of Turtle."""
        while not self._rest:
            text = next(self._texts(), None)
            if text is None:
                return b""
            self._rest = text
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def _texts(self) -> Iterator[bytes]:
        """Runs of lines that are UTF-8."""
        for block in self._blocks:
            self.skips += block.skips
            try:
                block.lines.decode()
                yield block.lines
            except UnicodeDecodeError:
                yield b"".join(
                    line + b"\n" for line in split_lines(block.lines) if self._good(line)
                )

    def _good(self, line: bytes) -> bool:
        try:
            line.decode()
        except UnicodeDecodeError:
            sample = line[:MAX_SAMPLE].decode(errors="replace")
            self.skips.append(Skip(self.source, "line is not UTF-8", sample))
            return False
        return True


def by_subject(triples: Triples) -> Iterator[dict[str, Any]]:
    """Triples of one subject that stand together."""
    entry: dict[str, Any] | None = None
    for subject, predicate, value in triples:
        if not isinstance(subject, ox.NamedNode):
            reason = "subject has no name of its own"
            triples.skips.append(Skip(triples.source, reason, f"{subject} {predicate}"))
            continue
        if (
            entry is None
            or entry["subject"] != subject.value
            or len(entry["triples"]) >= MAX_TOGETHER
        ):
            if entry is not None:
                yield entry
            entry = {"subject": subject.value, "triples": []}
        kind, datatype, language = "node", "", ""
        if isinstance(value, ox.Literal):
            kind, datatype, language = "literal", value.datatype.value, value.language or ""
        elif isinstance(value, ox.NamedNode):
            kind = "iri"
        text = value.value if kind != "node" else str(value)
        entry["triples"].append([predicate, kind, text, datatype, language])
    if entry is not None:
        yield entry


def suffix_of(path: str) -> str:
    """`.nt` of `d.nt.gz`."""
    name = Path(path)
    return Path(name.stem).suffix if name.suffix in PACKED else name.suffix
