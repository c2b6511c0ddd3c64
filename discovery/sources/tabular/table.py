"""Read the rows of a JSON Lines, CSV or Parquet file, a fact a row.

This module turns a file into rows; `discovery.sources.tabular.row_reader` turns rows into facts. A
row that cannot be read is a skip, with its reason; a file that is no table raises SourceError.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from discovery.facts.dates import days
from discovery.sources.observation import Coverage, Observation, Parsed, Partition, Signal, Since
from discovery.sources.settings import OWN_TRUST, SourceSettings
from discovery.sources.tabular.row_reader import Columns, RefusedRow, RowReader
from infra.errors import SourceError
from infra.http.client import PoliteClient

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
MAX_FILE_BYTES = 1 << 30
"""Bytes of the largest file. A file is read whole, as one observation; divide a larger table."""
UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16, which is refused."""


class TableConfig(SourceSettings):
    """Settings of a table source."""

    base_trust: ClassVar[float] = OWN_TRUST

    kind: Literal["table"] = "table"
    path: str
    """File, relative to the config file; `.jsonl`, `.csv` or `.parquet`; UTF-8."""
    columns: Columns = Field(default_factory=dict)
    """Role -> column, where they differ: subject_id, subject, relation, object_id, object, date,
    start, end. Without the ids the names themselves are the ids and the object is plain text."""

    @field_validator("path")
    @classmethod
    def _format(cls, path: str) -> str:
        if Path(path).suffix.lower() not in FORMATS:
            raise ValueError(f"{path!r} is not one of {', '.join(FORMATS)}")
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
        """The file's bytes, after a check of its columns.

        Raises SourceError for a file that cannot be read or is no table, ConfigError for an unknown
        column.
        """
        try:
            if self.path.stat().st_size > MAX_FILE_BYTES:
                raise SourceError(
                    f"source {self.name}: {self.path} is larger than {MAX_FILE_BYTES} bytes. "
                    "Split it into several files, each a source."
                )
            payload = self.path.read_bytes()
        except OSError as error:
            raise SourceError(
                f"source {self.name}: cannot read {self.path}: {error.strerror}. Check `path`, "
                "which is relative to the config file."
            ) from error
        self._check_columns(payload)
        yield Observation(
            source=self.name,
            partition=partition.id,
            kind="table",
            about=self.config.path,
            as_of=partition.as_of.isoformat(),
            url=f"file:{self.config.path}",
            payload=payload,
            fetched_at=datetime.now(UTC).isoformat("T", "seconds"),
        )

    def parse(self, observation: Observation) -> Parsed:
        """The facts in the rows that count on the observation's day; malformed rows are skips.

        Raises SourceError for a payload that is no table; `fetch` makes no such observation.
        """
        until = days(date.fromisoformat(observation.as_of))
        return self.reader.read(self._rows(observation.payload), until)

    def _check_columns(self, payload: bytes) -> None:
        """Raises ConfigError where a required or configured column is in no row or occurs twice,
        SourceError where there are no rows."""
        form = FORMATS[Path(self.config.path).suffix.lower()]
        known = dict.fromkeys(
            name for row in self._rows(payload) if isinstance(row, Mapping) for name in row
        )
        if not known:
            raise SourceError(
                f"source {self.name}: {self.path} holds no row. Check the file and its format."
            )
        columns = _header(payload) if form == "csv" else list(known)
        self.reader.check(columns, self.config.path)

    def _rows(self, payload: bytes) -> Iterator[Any]:
        """The rows as maps; a row that cannot be read is a `RefusedRow`. Raises SourceError."""
        form = FORMATS[Path(self.config.path).suffix.lower()]
        if form == "parquet":
            yield from self._parquet_rows(payload)
            return
        if payload.startswith(UTF16):
            raise SourceError(
                f"source {self.name}: {self.config.path} is UTF-16 text. Save it as UTF-8."
            )
        yield from (_csv_rows if form == "csv" else _json_rows)(_text(payload))

    def _parquet_rows(self, payload: bytes) -> Iterator[Any]:
        """The rows of a Parquet file as maps. Raises SourceError."""
        try:
            file = pq.ParquetFile(io.BytesIO(payload))
            self.reader.check(file.schema_arrow.names, self.config.path)
            yield from file.read().to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SourceError(
                f"source {self.name}: {self.config.path} is not parquet ({reason}). "
                "Check the file; it may be cut short."
            ) from error


def _text(payload: bytes) -> str:
    """The file as text. A byte that is not UTF-8 becomes a lone surrogate, for which a cell is
    refused; so a row in another encoding does not cost the other rows."""
    return payload.decode("utf-8-sig", "surrogateescape")


def _header(payload: bytes) -> list[str]:
    """The column names of a CSV file."""
    return next(csv.reader(io.StringIO(_text(payload), newline="")), [])


def _csv_rows(text: str) -> Iterator[Any]:
    """The rows of a CSV file as maps; a row with more or fewer cells than the header is refused.

    A quoted cell may hold line breaks. Where a quote is never closed, everything behind it is one
    refused row.
    """
    limit = csv.field_size_limit(MAX_FILE_BYTES)  # the default limit would end the whole file
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header: list[str] | None = None
        while True:
            first = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield RefusedRow(f"row is not CSV: {error}", f"line {first}")
                continue
            if header is None:
                header = row
            elif row and len(row) != len(header):
                words = "more" if len(row) > len(header) else "fewer"
                yield RefusedRow(f"row has {words} cells than the header", f"line {first}: {row}")
            elif row:
                yield dict(zip(header, row, strict=True))
    finally:
        csv.field_size_limit(limit)


def _json_rows(text: str) -> Iterator[Any]:
    """The JSON value of each line that is not blank, or a refused row."""
    for line in text.split("\n"):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                yield RefusedRow("row is not JSON", line)
            except RecursionError:
                yield RefusedRow("row is nested too deeply", line)
