"""Tables of dated facts: JSON Lines, CSV or Parquet files, one fact a row.

A row is known at the end of day T when the last day its date may mean is not after T: "2015" is
known from 2015-12-31 on. An end date after T is not known at T either, so the row then has none.
Which of several dated rows is current is for the diff to say.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, field_validator

from discovery.dates import days, iso_interval
from discovery.fact import Entity, Fact, Interval
from discovery.sources.observation import (
    MAX_SAMPLE,
    Coverage,
    Observation,
    Parsed,
    Partition,
    Signal,
    Since,
    Skip,
)
from infra.errors import ConfigError, SourceError
from infra.http import PoliteClient
from infra.settings import nearest

ROLES = ("subject_id", "subject", "relation", "object_id", "object", "date", "start", "end")
REQUIRED = ("subject", "relation", "object")
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
MAX_FILE_BYTES = 1 << 30
"""A file is one observation and is read whole; a larger table is split into files."""


class TableConfig(BaseModel):
    """Settings of a table source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["table"] = "table"
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    """Names the source in facts and errors."""
    path: str
    """File, relative to the config file; `.jsonl`, `.csv` or `.parquet`."""
    columns: Mapping[str, str] = Field(default_factory=dict)
    """Role -> column, where they differ: subject_id, subject, relation, object_id, object, date,
    start, end. Without the ids the names themselves are the ids and the object is plain text."""

    @field_validator("path")
    @classmethod
    def _format(cls, path: str) -> str:
        if Path(path).suffix.lower() not in FORMATS:
            raise ValueError(f"{path!r} is not one of {', '.join(FORMATS)}")
        return path

    @field_validator("columns")
    @classmethod
    def _roles(cls, columns: Mapping[str, str]) -> Mapping[str, str]:
        for role in columns:
            if role not in ROLES:
                raise ValueError(f"{role!r} is no role of a column{nearest(role, ROLES)}")
        return columns


class TableSource:
    """One file, one partition, one observation."""

    coverage: Coverage = "source"

    def __init__(self, config: TableConfig, base_dir: Path = Path()) -> None:
        self.config, self.name, self.base_dir = config, config.name, base_dir
        self.endpoint: str | None = None

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
        """Rows known on the observation's day; malformed rows are skips."""
        facts: dict[str, Fact] = {}
        entities: dict[str, Entity] = {}
        skips: list[Skip] = []
        until = days(date.fromisoformat(observation.as_of))
        for row in self._rows(observation.payload):
            try:
                fact, named = self._fact(row, until)
            except ValueError as error:
                sample = row if isinstance(row, str) else json.dumps(row, default=str)
                skips.append(Skip(self.name, str(error), sample[:MAX_SAMPLE]))
                continue
            if fact is not None:
                facts.setdefault(fact.statement_id, fact)
                for entity in named:
                    entities.setdefault(entity.id, entity)
        return Parsed(tuple(facts.values()), tuple(entities.values()), tuple(skips))

    def _fact(self, row: Any, until: int) -> tuple[Fact | None, tuple[Entity, ...]]:
        """One row's fact and the names in it; no fact where it is not known yet.

        Raises ValueError with a reason that does not quote the row.
        """
        if not isinstance(row, Mapping):
            raise ValueError("row is not an object of columns")
        cell = {role: _cell(row, self.config.columns.get(role, role)) for role in ROLES}
        for role in REQUIRED:
            if not cell[role]:
                raise ValueError(f"row without {role}")
        dates: dict[str, Interval | None] = {}
        for role in ("date", "start", "end"):
            try:
                dates[role] = iso_interval(cell[role]) if cell[role] else None
            except ValueError:
                raise ValueError(f"{role} is not an ISO date or a year") from None
        point, start, end = dates["date"], dates["start"], dates["end"]
        if any(known is not None and known.latest - 1 > until for known in (point, start)):
            return None, ()
        subject, value = cell["subject_id"] or cell["subject"], cell["object_id"] or cell["object"]
        identity = "\n".join(
            (self.name, subject, cell["relation"], value, cell["date"], cell["start"])
        )
        fact = Fact(
            statement_id=f"{self.name}${hashlib.sha256(identity.encode()).hexdigest()[:24]}",
            subject=subject,
            relation=cell["relation"],
            value=value,
            value_type="entity" if cell["object_id"] else "string",
            start=start,
            end=end if end is not None and end.latest - 1 <= until else None,
            point=point,
            source=self.name,
        )
        named = [Entity(id=subject, label=cell["subject"], source=self.name)]
        if cell["object_id"]:
            named.append(Entity(id=value, label=cell["object"], source=self.name))
        return fact, tuple(named)

    def _rows(self, payload: bytes) -> Iterator[Any]:
        """Rows as maps; a line that is not JSON comes as its text. Raises SourceError."""
        form = FORMATS[Path(self.config.path).suffix.lower()]
        try:
            if form == "parquet":
                yield from pq.read_table(io.BytesIO(payload)).to_pylist()
                return
            text = payload.decode("utf-8-sig")
            if form == "csv":
                yield from csv.DictReader(io.StringIO(text, newline=""))
                return
        except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
            raise SourceError(
                f"source {self.name}: {self.config.path} is not {form} ({error}). Check the file."
            ) from error
        for line in text.split("\n"):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError:
                    yield line

    def _check_columns(self, payload: bytes) -> None:
        """Raises ConfigError where a column that is asked for is in no row, SourceError for no
        rows."""
        known = {
            name for row in self._rows(payload) if isinstance(row, Mapping) for name in row if name
        }
        if not known:
            raise SourceError(
                f"source {self.name}: {self.path} holds no row. Check the file and its format."
            )
        wanted = {role: role for role in REQUIRED} | dict(self.config.columns)
        for role, column in wanted.items():
            if column not in known:
                raise ConfigError(
                    f"source {self.name}: {self.config.path} has no column {column!r} for {role}"
                    f"{nearest(column, sorted(known))}. Columns: {', '.join(sorted(known))}."
                )


def _cell(row: Mapping[str, Any], column: str) -> str:
    """A cell as text; dates of a Parquet file become ISO text."""
    value = row.get(column)
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value).strip()
