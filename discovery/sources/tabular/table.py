"""Tables of dated facts: JSON Lines, CSV or Parquet files, one fact a row.

What a row says is read by `discovery.sources.tabular.row_reader`; here a file becomes rows. A row
that cannot be read is refused by itself, with its reason; a file that is no table at all is a
SourceError.
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
from discovery.sources.tabular.row_reader import Columns, Refused, RowReader
from infra.errors import SourceError
from infra.http.client import PoliteClient

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
MAX_FILE_BYTES = 1 << 30
"""A file is one observation and is read whole; a larger table is split into files."""
UTF16 = (b"\xff\xfe", b"\xfe\xff")


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
    """One file, one partition, one observation."""

    coverage: Coverage = "source"

    def __init__(self, config: TableConfig, base_dir: Path = Path()) -> None:
        self.config, self.name, self.base_dir = config, config.name, base_dir
        self.reader = RowReader(source=config.name, columns=config.columns)

    @property
    def path(self) -> Path:
        return self.base_dir / self.config.path

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        return None

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        return [Partition(id="file", as_of=as_of, keys=(self.config.path,))]

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """The file's bytes, once its columns are seen to be there.

        Raises SourceError for a file that cannot be read, ConfigError for an unknown column.
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
        """Rows known on the observation's day; malformed rows are skips. Raises SourceError for
        what is no table, which `fetch` has not let pass."""
        until = days(date.fromisoformat(observation.as_of))
        return self.reader.read(self._rows(observation.payload), until)

    def _check_columns(self, payload: bytes) -> None:
        """Raises ConfigError where a column that is asked for is in no row or is there twice,
        SourceError for no rows."""
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
        """Rows as maps, and what is refused. Raises SourceError."""
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
    """The file as text; a byte that is not UTF-8 becomes a lone surrogate, which no cell may
    hold: one row written in another encoding does not cost the others."""
    return payload.decode("utf-8-sig", "surrogateescape")


def _header(payload: bytes) -> list[str]:
    return next(csv.reader(io.StringIO(_text(payload), newline="")), [])


def _csv_rows(text: str) -> Iterator[Any]:
    """Rows as long as the header. A row may be spread over lines inside quotes; where a quote is
    never closed, that is everything behind it, refused as one."""
    limit = csv.field_size_limit(MAX_FILE_BYTES)  # the module's own would end the file
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
                yield Refused(f"row is not CSV: {error}", f"line {first}")
                continue
            if header is None:
                header = row
            elif row and len(row) != len(header):
                words = "more" if len(row) > len(header) else "fewer"
                yield Refused(f"row has {words} cells than the header", f"line {first}: {row}")
            elif row:
                yield dict(zip(header, row, strict=True))
    finally:
        csv.field_size_limit(limit)


def _json_rows(text: str) -> Iterator[Any]:
    """The value of each line that is not blank."""
    for line in text.split("\n"):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                yield Refused("row is not JSON", line)
            except RecursionError:
                yield Refused("row is nested too deeply", line)
