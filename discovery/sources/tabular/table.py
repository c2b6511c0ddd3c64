"""Read the rows of a JSON, CSV or Parquet file, a fact a row.

This module turns a file into rows, by the reader of its format; a row into a fact turns
`discovery.sources.tabular.row_reader`. Text may be packed with gzip, bzip2 or Zstandard. A row that
cannot be read is a skip, with its reason; a file that is no table raises SourceError.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from discovery.facts.dates import days
from discovery.sources.local_files import cannot_read
from discovery.sources.observation import (
    Coverage,
    Observation,
    Parsed,
    Partition,
    Sample,
    Signal,
    Since,
)
from discovery.sources.settings import OWN_TRUST, SourceSettings
from discovery.sources.tabular.csv_rows import csv_header, csv_rows
from discovery.sources.tabular.json_rows import json_rows
from discovery.sources.tabular.kept_rows import keep_rows, read_kept
from discovery.sources.tabular.parquet_rows import keep_columns, parquet_columns, parquet_rows
from discovery.sources.tabular.row_reader import SAMPLE_ROWS, Columns, RefusedRow, RowReader
from infra.errors import DamageError, SourceError
from infra.files.decompress import PACKED, decompress_stream, suffix_of
from infra.files.regular import require_regular
from infra.http.client import PoliteClient

FORMATS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
SHEETS = (".xlsx", ".xls", ".xlsb", ".ods")
"""Suffixes of spreadsheets, which are refused."""
MAX_FILE_BYTES = 1 << 30
"""Bytes of the largest file, packed or not. A file is read whole, as one observation; divide a
larger table."""
KEPT = "rows"
"""Scheme of the address of an observation that holds rows (`kept_rows`) instead of a file."""
UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16, which is refused."""


class TableConfig(SourceSettings):
    """Settings of a table source."""

    base_trust: ClassVar[float] = OWN_TRUST

    renamed: ClassVar[frozenset[str]] = frozenset({"path"})

    kind: Literal["table"] = "table"
    path: str
    """File, relative to the config file: `.jsonl` or `.json` (an object a line, or one array),
    `.csv` or `.tsv` (with commas, semicolons or tabs) in UTF-8, with `.gz`, `.bz2` or `.zst` behind
    it or not; or `.parquet`."""
    columns: Columns = Field(default_factory=dict)
    """Role -> column, where they differ: subject_id, subject, relation, object_id, object, date,
    start, end. Without the ids the names themselves are the ids and the object is plain text."""

    @field_validator("path")
    @classmethod
    def _format(cls, path: str) -> str:
        suffix = suffix_of(path)
        if suffix in SHEETS:
            raise ValueError(f"{path!r} is a spreadsheet. Save its sheet as CSV UTF-8")
        if suffix not in FORMATS:
            raise ValueError(f"{path!r} is not one of {', '.join(FORMATS)}")
        if suffix == ".parquet" and path.lower().endswith(PACKED):
            raise ValueError(f"{path!r} is packed. Parquet is packed within: unpack the file")
        return path

    def local_paths(self, base_dir: Path) -> list[Path]:
        """The one file."""
        return [base_dir / self.path]


class TableSource:
    """A table in one file, which is one partition and one observation."""

    coverage: Coverage = "source"

    def __init__(self, config: TableConfig, base_dir: Path = Path()) -> None:
        self.config, self.name, self.base_dir = config, config.name, base_dir
        self.reader = RowReader(source=config.name, columns=config.columns)

    @property
    def path(self) -> Path:
        """The file."""
        return self.base_dir / self.config.path

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        """None: a file does not tell its changes."""
        return None

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        """One partition, the file."""
        return [Partition(id="file", as_of=as_of, keys=(self.config.path,))]

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """The file's bytes, after a check of its columns; without those that play no part.

        Raises SourceError for a file that cannot be read or is no table, ConfigError for an unknown
        column.
        """
        payload, form = self._content(), "file"
        if not self._check_columns(payload) <= self.reader.known:
            if self._format == "parquet":
                payload = keep_columns(payload, self.reader.known)
            else:
                payload, form = keep_rows(self._rows(payload), self.reader.known), KEPT
        yield Observation(
            source=self.name,
            partition=partition.id,
            kind="table",
            about=self.config.path,
            as_of=partition.as_of.isoformat(),
            url=f"{form}:{self.config.path}",
            payload=payload,
            fetched_at=datetime.now(UTC).isoformat("T", "seconds"),
        )

    def parse(self, observation: Observation) -> Parsed:
        """The facts in the rows that count on the observation's day; malformed rows are skips.

        Raises SourceError for a payload that is no table; `fetch` makes no such observation.
        """
        until = days(date.fromisoformat(observation.as_of))
        kept = observation.url.startswith(f"{KEPT}:")
        read = read_kept if kept else self._rows
        return self.reader.read(read(observation.payload), until)

    def sample(self, partition: Partition, client: PoliteClient | None) -> Sample:
        """The first rows. Raises as `fetch`."""
        payload = self._content()
        rows = list(islice(self._rows(payload), SAMPLE_ROWS + 1))
        names = {name for row in rows if isinstance(row, Mapping) for name in row}
        if not self.reader.required <= names:
            self._check_columns(payload)  # a column may be in later rows alone
        if not names <= self.reader.known:
            rows = list(read_kept(keep_rows(rows, self.reader.known)))
        parsed = self.reader.read(rows[:SAMPLE_ROWS], days(partition.as_of))
        number = min(len(rows), SAMPLE_ROWS)
        return Sample(parsed, number, "row", whole=len(rows) == number)

    def num_requests(self, partitions: Sequence[Partition]) -> None:
        """None: a file is not asked for."""

    def columns(self) -> list[str]:
        """Names of the file's columns, whichever are configured; of JSON, those of its first rows.

        Raises SourceError where the file cannot be read or is no table.
        """
        payload = self._content()
        if self._format == "csv":
            return csv_header(self._text(payload)[0], ())
        if self._format == "parquet":
            try:
                return parquet_columns(payload)
            except DamageError as error:
                raise self._no_parquet(error) from error
        rows = islice(self._rows(payload), SAMPLE_ROWS)
        return list(dict.fromkeys(n for row in rows if isinstance(row, Mapping) for n in row))

    def _content(self) -> bytes:
        """The file's bytes. Raises SourceError where it cannot be read or is too large."""
        try:
            require_regular(self.path)
            if self.path.stat().st_size > MAX_FILE_BYTES:
                raise self._too_large()
            return self.path.read_bytes()
        except OSError as error:
            raise cannot_read(self.name, self.path, error) from error

    def _check_columns(self, payload: bytes) -> set[str]:
        """The names of all columns.

        Raises ConfigError where a required or configured column is in no row or occurs twice,
        SourceError where there are no rows."""
        known = dict.fromkeys(
            name for row in self._rows(payload) if isinstance(row, Mapping) for name in row
        )
        if not known:
            raise SourceError(
                f"source {self.name}: {self.path} holds no row. Check the file and its format."
            )
        columns = list(known)
        if self._format == "csv":
            columns = csv_header(self._text(payload)[0], self.reader.required)
        self.reader.check(columns, self.config.path)
        if self._format == "parquet":
            return set(parquet_columns(payload))
        return {*columns, *known}

    @property
    def _format(self) -> str:
        """A value of `FORMATS`."""
        return FORMATS[suffix_of(self.config.path)]

    def _rows(self, payload: bytes) -> Iterator[Any]:
        """The rows as maps; a row that cannot be read is a `RefusedRow`. Raises SourceError."""
        if self._format == "parquet":
            yield from self._parquet_rows(payload)
            return
        text, damage = self._text(payload)
        is_csv = self._format == "csv"
        yield from csv_rows(text, self.reader.required) if is_csv else json_rows(text)
        if damage is not None:
            yield RefusedRow(f"{damage}: the rest is lost", self.config.path)

    def _parquet_rows(self, payload: bytes) -> Iterator[Any]:
        """The rows of a Parquet file as maps. Raises SourceError, ConfigError for its columns."""
        try:
            self.reader.check(parquet_columns(payload), self.config.path)
            yield from parquet_rows(payload, self.reader.known)
        except DamageError as error:
            raise self._no_parquet(error) from error

    def _no_parquet(self, error: DamageError) -> SourceError:
        """The error for a file that Arrow cannot read."""
        return SourceError(
            f"source {self.name}: {self.config.path} is not parquet ({error}). "
            "Check the file; it may be cut short."
        )

    def _text(self, payload: bytes) -> tuple[str, DamageError | None]:
        """The file as text, unpacked, and what is wrong with a packed file that is cut.

        A byte that is not UTF-8 becomes a lone surrogate, for which a cell is refused; so a row in
        another encoding does not cost the other rows. Of a cut file the last line is left out.
        Raises SourceError.
        """
        content, damage = bytearray(), None
        try:
            for piece in decompress_stream(io.BytesIO(payload)):
                content += piece
                if len(content) > MAX_FILE_BYTES:
                    raise self._too_large()
        except DamageError as error:
            damage = error
            del content[content.rfind(b"\n") + 1 :]
        head = bytes(content[:4])
        if head.startswith(UTF16) or (0 in head[:2] and any(head)):
            raise SourceError(
                f"source {self.name}: {self.config.path} is UTF-16 text. Save it as UTF-8."
            )
        return content.decode("utf-8-sig", "surrogateescape"), damage

    def _too_large(self) -> SourceError:
        """The error for a file that is too large."""
        return SourceError(
            f"source {self.name}: {self.path} is larger than {MAX_FILE_BYTES} bytes. "
            "Split it into several files, each a source."
        )
