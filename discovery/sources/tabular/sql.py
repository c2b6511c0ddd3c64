"""Read the rows of a query, a fact a row, from DuckDB, SQLite or any DB-API 2.0 module.

Without a cursor column each crawl reads all rows, and their dates decide which count, as in a file
(`discovery.sources.tabular.row_reader`). A cursor column holds the number or time at which a row
was last written. With one, a crawl reads only the rows written since the crawl before, in slices
(after, until]; if the column holds times, up to the end of the crawl's day. A row's key identifies
its statement, so a row that is written again replaces its earlier fact.

Two things a crawl with a cursor cannot see: a row that was deleted (give it an end date instead),
and a row that appears late with a lower cursor than one already read (set the column when the row
is committed).

DuckDB's functions reach files too: `SELECT * FROM 'facts.csv'`, `FROM
read_parquet('facts/*.parquet')`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from discovery.facts.dates import days
from discovery.sources.observation import (
    Coverage,
    Observation,
    Parsed,
    Partition,
    Sample,
    Signal,
    Since,
    joined,
)
from discovery.sources.tabular.cells import json_cell
from discovery.sources.tabular.database import Database
from discovery.sources.tabular.driver import PARAMETER
from discovery.sources.tabular.row_reader import RefusedRow, RowReader
from discovery.sources.tabular.sql_config import SqlConfig
from infra.errors import SourceError
from infra.http.client import PoliteClient

PAGES_PER_SLICE = 50
"""Pages of rows in one slice, about."""
ALL, SLICE, UNDATED = "all", "slice", "undated"
"""Kinds of partitions: all rows; a slice by the cursor column; rows in which that is NULL."""

_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class SqlSource:
    """The rows of one query. An observation is a page of rows, as lines of JSON."""

    def __init__(self, config: SqlConfig, base_dir: Path = Path()) -> None:
        self.config, self.name = config, config.name
        self.coverage: Coverage = "statement" if config.cursor else "source"
        self.reader = RowReader(source=config.name, columns=config.columns, key=config.key)
        self.database = Database(
            source=config.name,
            connect=config.connect,
            module=config.module,
            arguments=config.real("arguments"),
            base_dir=base_dir,
            scrubber=config.scrubber,
            max_answer_s=config.max_answer_s,
            max_rows=config.max_rows,
        )

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        """The bounds of the next slice, as one subject; None without a cursor column.

        A slice has `PAGES_PER_SLICE` pages of rows, and further rows with the last one's cursor.
        Raises SourceError.
        """
        column = self.config.cursor
        if column is None:
            return None
        where = f"{column} IS NOT NULL" if cursor is None else f"{column} > {PARAMETER}"
        statement = self._select(column, where, column)
        size = self.config.page_rows * PAGES_PER_SLICE
        after = [] if cursor is None else [_bound_from_json(cursor)]

        def read() -> list[Any]:
            with self.database.rows(statement, after, size=size) as (_, lists):
                return [row[0] for row in next(lists, [])]

        values = self.database.repeated(read)
        within = list(takewhile(lambda value: not _is_after(value, as_of), values))
        until = self._bound_to_json(within[-1]) if within else cursor
        subjects = (json.dumps([cursor, until]),) if within else ()
        done = len(values) < size or len(within) < len(values)
        return Signal(subjects=subjects, cursor=until, done=done)

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        """All rows; or, with a cursor column, a partition for each slice and one for the rows
        without a cursor."""
        if signals is None:
            return [Partition(id=ALL, as_of=as_of, keys=())]
        slices = [key for signal in signals for key in signal.subjects]
        parts = [
            Partition(id=f"{SLICE}-{n:05d}", as_of=as_of, keys=(key,))
            for n, key in enumerate(slices)
        ]
        return [Partition(id=UNDATED, as_of=as_of, keys=()), *parts]

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """The partition's rows in the order of their keys, a page in each observation, with the
        columns that have a role.

        Where the connection is lost all of them are read again, so that they are of one moment.
        Raises SourceError for a database or query that fails, a query without rows, and a key that
        is not unique; ConfigError for an unknown column.
        """
        return iter(self.database.repeated(lambda: list(self._pages(partition))))

    def _pages(self, partition: Partition) -> Generator[Observation, None, None]:
        """The observations of `fetch`, over one connection. Raises LostConnection besides."""
        where, bounds = self._where(partition)
        statement = self._select("*", where, self.config.key)
        number = 0
        last: Any = None
        with self.database.rows(statement, bounds, size=self.config.page_rows) as (names, lists):
            self.reader.check(names, "the query's result")
            places = [(i, name) for i, name in enumerate(names) if name in self.reader.known]
            key = names.index(self.config.key)
            for rows in lists:
                for row in rows:
                    if row[key] is not None and row[key] == last:
                        raise SourceError(
                            f"source {self.name}: two rows have {self.config.key} = "
                            f"{str(last)[:80]!r}. Name a column as `key` that is unique to a row."
                        )
                    last = row[key]
                lines = [_line({name: row[i] for i, name in places}) for row in rows]
                yield Observation(
                    source=self.name,
                    partition=partition.id,
                    kind="table",
                    about=f"{partition.id} page {number}",
                    as_of=partition.as_of.isoformat(),
                    url=f"sql:{self.database.where}",
                    payload="".join(lines).encode(),
                    fetched_at=datetime.now(UTC).isoformat("T", "seconds"),
                )
                number += 1
        if number == 0 and partition.id == ALL:
            raise SourceError(
                f"source {self.name}: the query gives no row. Check it: that all facts are gone is "
                "more likely a fault."
            )

    def sample(self, partition: Partition, client: PoliteClient | None) -> Sample:
        """The first page of rows. Raises as `fetch`."""

        def read() -> tuple[list[Observation], bool]:
            pages = self._pages(partition)
            first = list(islice(pages, 1))
            whole = next(pages, None) is None
            pages.close()
            return first, whole

        first, whole = self.database.repeated(read)
        number = sum(page.payload.count(b"\n") for page in first)
        return Sample(joined(map(self.parse, first)), number, "row", whole)

    def num_requests(self, partitions: Sequence[Partition]) -> None:
        """None: a database is asked without a limit."""

    def parse(self, observation: Observation) -> Parsed:
        """The facts in a page of rows. With a cursor column all rows count, and a date in the
        future is that of a fact to come."""
        undated = observation.partition == UNDATED
        until = None if self.config.cursor else days(date.fromisoformat(observation.as_of))
        lines = observation.payload.decode().splitlines()
        if undated:
            return self.reader.read(
                [RefusedRow("row without cursor", line, json.loads(line)) for line in lines], until
            )
        return self.reader.read(map(json.loads, lines), until)

    def _where(self, partition: Partition) -> tuple[str | None, list[Any]]:
        """The SQL condition of a partition, and its parameters."""
        column = self.config.cursor
        if partition.id == ALL:
            return None, []
        if partition.id == UNDATED:
            return f"{column} IS NULL", []
        after, until = json.loads(partition.keys[0])
        upper = f"{column} <= {PARAMETER}"
        if after is None:
            return upper, [_bound_from_json(until)]
        return f"{column} > {PARAMETER} AND {upper}", [
            _bound_from_json(after),
            _bound_from_json(until),
        ]

    def _select(self, columns: str, where: str | None, order: str) -> str:
        """A statement that selects from the user's query."""
        condition = f" WHERE {where}" if where else ""
        query = self.config.real("query")
        return f"SELECT {columns} FROM (\n{query}\n) corrigenda_rows{condition} ORDER BY {order}"

    def _bound_to_json(self, value: Any) -> Any:
        """A cursor as a JSON value, for `_bound_from_json`. Raises SourceError."""
        if isinstance(value, datetime | date | Decimal):
            text = str(value) if isinstance(value, Decimal) else value.isoformat()
            return {"type": type(value).__name__, "value": text}
        if isinstance(value, int | float | str):
            return value
        raise SourceError(
            f"source {self.name}: cursor {self.config.cursor!r} holds {type(value).__name__}. "
            "Name a column of times, dates, numbers or text."
        )


def _bound_from_json(bound: Any) -> Any:
    """The cursor that `_bound_to_json` wrote."""
    if not isinstance(bound, dict):
        return bound
    read = {"datetime": datetime.fromisoformat, "date": date.fromisoformat, "Decimal": Decimal}
    return read[bound["type"]](bound["value"])


def _is_after(value: Any, as_of: date) -> bool:
    """Whether a cursor is a time after the day (UTC); a number never is."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).date() > as_of
    if isinstance(value, date):
        return value > as_of
    if isinstance(value, str) and _ISO_DAY.match(value):
        return value[:10] > as_of.isoformat()
    return False


def _line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON."""
    return json.dumps({name: json_cell(value) for name, value in row.items()}) + "\n"
