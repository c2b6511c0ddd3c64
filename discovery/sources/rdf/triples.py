"""The triples of an RDF file in the order of the file; malformed ones are counted as skips."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO, Any, cast

import pyoxigraph as ox

from discovery.sources.blocks import MAX_LINE_BYTES, read_blocks, split_lines
from discovery.sources.observation import MAX_SAMPLE, Skip
from infra.files.decompress import decompress, suffix_of

FORMATS = (".nt", ".ttl")
READ_BYTES = 1 << 18
MAX_ERRORS = 10_000
"""Consecutive malformed triples after which the rest of the file is given up."""
MAX_TOGETHER = 10_000
"""Triples of one subject in one entry, at most."""


class Triples:
    """Iterates over the triples of a file: subject, predicate, object. Malformed ones are skips."""

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
        """The next bytes of the file, which the Turtle parser reads as from a stream."""
        while not self._rest:
            text = next(self._texts(), None)
            if text is None:
                return b""
            self._rest = text
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def _texts(self) -> Iterator[bytes]:
        """The lines of the file that are UTF-8, block by block; other lines are skips."""
        for block in self._blocks:
            self.skips += block.skips
            try:
                block.lines.decode()
                yield block.lines
            except UnicodeDecodeError:
                yield b"".join(
                    line + b"\n" for line in split_lines(block.lines) if self._is_utf8(line)
                )

    def _is_utf8(self, line: bytes) -> bool:
        """Whether a line is UTF-8; if not, it is counted as a skip."""
        try:
            line.decode()
        except UnicodeDecodeError:
            sample = line[:MAX_SAMPLE].decode(errors="replace")
            self.skips.append(Skip(self.source, "line is not UTF-8", sample))
            return False
        return True


def by_subject(triples: Triples) -> Iterator[dict[str, Any]]:
    """Entries `{"subject", "triples"}`: consecutive triples of the same subject, at most
    `MAX_TOGETHER`. Triples whose subject is a blank node are skips."""
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
