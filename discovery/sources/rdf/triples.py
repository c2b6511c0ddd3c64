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

FORMATS = {
    ".nt": ox.RdfFormat.N_TRIPLES,
    ".ttl": ox.RdfFormat.TURTLE,
    ".nq": ox.RdfFormat.N_QUADS,
    ".trig": ox.RdfFormat.TRIG,
    ".n3": ox.RdfFormat.N3,
    ".rdf": ox.RdfFormat.RDF_XML,
    ".owl": ox.RdfFormat.RDF_XML,
    ".jsonld": ox.RdfFormat.JSON_LD,
}
"""Suffix of a file's name -> its format. The names of graphs are not used."""
BY_LINE = (ox.RdfFormat.N_TRIPLES, ox.RdfFormat.N_QUADS)
"""Formats whose lines are read each by itself."""
READ_BYTES = 1 << 18
MAX_ERRORS = 10_000
"""Consecutive malformed triples after which the rest of the file is given up."""
MAX_TOGETHER = 10_000
"""Triples of one subject in one entry, at most."""


class Triples:
    """Iterates over the triples of a file: subject, predicate, object. Malformed ones are skips."""

    def __init__(self, path: Path, source: str, as_of: date, skips: list[Skip]) -> None:
        self.source, self.skips, self.count = source, skips, 0
        self.num_faults = 0
        """Places at which triples were lost so far; it grows by each triple where that is not known
        more exactly."""
        self._near_loss = False
        """Whether lines were lost near what is parsed now."""
        bounds = {"block_bytes": READ_BYTES, "max_line_bytes": MAX_LINE_BYTES}
        self._blocks = read_blocks(decompress(path), source, as_of, **bounds)
        self._format = FORMATS[suffix_of(path.name)]
        self._rest = b""

    def __iter__(self) -> Iterator[tuple[Any, str, Any]]:
        errors = 0
        for parser in self._parsers():
            while errors < MAX_ERRORS:
                try:
                    triple = next(parser)
                except StopIteration:
                    break
                except SyntaxError as error:
                    errors += 1
                    self._lose("triple is malformed", " ".join(str(error).split()))
                    continue
                errors, self.count = 0, self.count + 1
                self.num_faults += self._near_loss
                if isinstance(triple.object, ox.Triple):
                    self._lose("object is a triple", str(triple))
                    continue
                yield triple.subject, triple.predicate.value, triple.object
        if errors >= MAX_ERRORS:
            self._lose("what follows is no RDF: the rest is lost", "")

    def _parsers(self) -> Iterator[Iterator[Any]]:
        """Parsers of the whole file, or of its blocks of lines."""
        if self._format in BY_LINE:
            return (iter(ox.parse(text, format=self._format)) for text in self._texts())
        return iter([iter(ox.parse(cast(IO[bytes], self), format=self._format))])

    def _lose(self, reason: str, sample: str) -> None:
        """Count a triple, or more, that could not be read."""
        self.num_faults += 1
        self.skips.append(Skip(self.source, reason, sample[:MAX_SAMPLE], damage=True))

    def read(self, size: int) -> bytes:
        """The next bytes of the file, which a parser reads as from a stream."""
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
            faults, text = self.num_faults, block.lines
            try:
                text.decode()
            except UnicodeDecodeError:
                text = b"".join(line + b"\n" for line in split_lines(text) if self._is_utf8(line))
            lost = self.num_faults > faults or len(block.skips) > block.damaged
            # a parser of the whole file reads ahead, so all that follows may be near the loss
            self._near_loss = lost or (self._near_loss and self._format not in BY_LINE)
            yield text
            self.num_faults += block.damaged

    def _is_utf8(self, line: bytes) -> bool:
        """Whether a line is UTF-8; if not, it is counted as a skip."""
        try:
            line.decode()
        except UnicodeDecodeError:
            self._lose("line is not UTF-8", line[:MAX_SAMPLE].decode(errors="replace"))
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
