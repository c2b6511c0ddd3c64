"""Read the rows of one SELECT statement over a read-only connection to a database.

DuckDB and SQLite files are opened read-only; any other database is reached through its DB-API 2.0
module (PEP 249). A user's statement is used only in parentheses, as a table to select from, where
every database accepts a query and nothing else. So it changes nothing, and may be run again where
the database, and not the statement, is at fault (`LostConnection`). A query that never ends is
interrupted (`discovery.sources.tabular.driver.bounded`).
"""

from __future__ import annotations

import importlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from discovery.sources.tabular.driver import (
    MARKS,
    bounded,
    execute,
    is_lost,
    open_cursor,
    read_only_arguments,
    require_file,
    sqlite_uri,
)
from infra.errors import ConfigError, CorrigendaError, SourceError
from infra.http.faults import backoff_s
from infra.secrets.masks import mask_message
from infra.secrets.scrubber import Scrubber

MAX_ANSWER_S = 600.0
"""Longest time, in seconds, that a database may take for its next rows, unless the config says
otherwise."""
MAX_ROWS = 20_000_000
"""Rows of the largest result, unless the config says otherwise."""
TRIES = 4
"""Tries of a query whose connection is lost: the pauses between them take 35 s."""
Read = TypeVar("Read")


class LostConnection(SourceError):
    """The database is at fault, and not the query; another try may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The database that a source's rows are in."""

    source: str
    """Name of the source, which begins every error."""
    connect: str | None
    """`duckdb:PATH`, `duckdb:` or `sqlite:PATH`; None with a module."""
    module: str | None
    """Name of a DB-API 2.0 module; None with `connect`."""
    arguments: Mapping[str, Any]
    """Arguments of the module's `connect`."""
    base_dir: Path
    """Directory that relative paths are below."""
    scrubber: Scrubber
    """Takes the secrets of arguments and query out of errors."""
    max_answer_s: float = MAX_ANSWER_S
    """Longest time, in seconds, that the database may take for its next rows."""
    max_rows: int = MAX_ROWS
    """Rows of the largest result."""

    @contextmanager
    def rows(
        self, statement: str, parameters: Sequence[Any] = (), *, size: int
    ) -> Iterator[tuple[list[str], Iterator[list[tuple]]]]:
        """Run a statement: the names of its columns, and its rows in lists of `size`.

        parameters  values for the `PARAMETER`s in the statement, in order

        Raises ConfigError for a missing module, LostConnection for a database that is at fault,
        SourceError for a statement that is. Errors show no secrets.
        """
        module, is_reading, late = self._module(), False, threading.Event()
        try:
            with (
                closing(self._connection(module)) as connection,
                closing(open_cursor(connection)) as cursor,
            ):
                with bounded((cursor, connection), self.max_answer_s, late):
                    execute(cursor, module, statement, parameters)
                names = [column[0] for column in cursor.description]
                is_reading = True
                yield names, self._lists(connection, cursor, size, late)
        except CorrigendaError:
            raise
        except Exception as error:  # drivers pass on those of the packages they are made of too
            if is_reading and not isinstance(error, (module.Error, TypeError, OSError)):
                raise
            if late.is_set():
                raise SourceError(
                    f"source {self.source}: {self.where} has not answered after "
                    f"{self.max_answer_s:g} s. Check whether the query ends, make it smaller, or "
                    "raise `max_answer_s`."
                ) from None
            reason = " ".join(mask_message(self.scrubber.text(str(error))).split())[:300]
            text = f"source {self.source}: {self.where} does not answer: {reason}. "
            if is_lost(error):
                raise LostConnection(
                    f"{text}The database is at fault, not the query: run the same command later to "
                    "continue; what was fetched before is kept."
                ) from None
            raise SourceError(f"{text}Check the connection and the query.") from None

    def repeated(self, read: Callable[[], Read]) -> Read:
        """What `read` reads of `rows`, from the start again where the connection is lost.

        Raises LostConnection after `TRIES` tries, and what `read` raises.
        """
        for attempt in range(TRIES - 1):
            try:
                return read()
            except LostConnection:
                time.sleep(backoff_s(attempt))
        return read()

    @property
    def where(self) -> str:
        """The database, as errors name it: without its arguments."""
        return self.connect or str(self.module)

    def _lists(
        self, connection: Any, cursor: Any, size: int, late: threading.Event
    ) -> Iterator[list[tuple]]:
        """The rows of a cursor in lists of `size`. Raises SourceError for too many."""
        number = 0
        while True:
            with bounded((cursor, connection), self.max_answer_s, late):
                rows: Sequence[tuple] = cursor.fetchmany(size)
            if not rows:
                return
            number += len(rows)
            if number > self.max_rows:
                raise SourceError(
                    f"source {self.source}: the query gives more than {self.max_rows:,} rows. "
                    "Check it, or raise `max_rows`."
                )
            yield list(rows)

    def _module(self) -> ModuleType:
        """The DB-API 2.0 module. Raises ConfigError where there is none."""
        name = self.module or {"duckdb": "duckdb", "sqlite": "sqlite3"}[self._kind]
        try:
            module = importlib.import_module(name)
        except Exception as error:  # a driver may raise anything where a part of it is missing
            raise ConfigError(
                f"source {self.source}: module {name!r} cannot be imported ({error}). "
                "Install the database's driver."
            ) from None
        if not hasattr(module, "connect") or getattr(module, "paramstyle", None) not in MARKS:
            raise ConfigError(
                f"source {self.source}: module {name!r} is no DB-API 2.0 module (PEP 249). "
                "Name one that has `connect` and `paramstyle`, such as psycopg."
            )
        return module

    @property
    def _kind(self) -> str:
        """`duckdb` or `sqlite`, empty with a module."""
        return (self.connect or "").partition(":")[0]

    def _connection(self, module: ModuleType) -> Any:
        """A connection that is read-only, as far as the driver supports that."""
        if self.module:
            connection = module.connect(**read_only_arguments(str(self.module), self.arguments))
            for attribute in ("read_only", "readonly"):  # psycopg 3, psycopg2
                if hasattr(connection, attribute):
                    setattr(connection, attribute, True)
            return connection
        name = (self.connect or "").partition(":")[2]
        path = (self.base_dir / name).absolute()
        if name:
            require_file(path)
        if self._kind == "sqlite":
            connection = module.connect(sqlite_uri(path), uri=True, check_same_thread=False)
            # Text that is not UTF-8 must cost its own row only, not the whole table.
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            return connection
        settings = {
            "file_search_path": str(self.base_dir.absolute()),
            "temp_directory": str(Path(tempfile.gettempdir()) / "corrigenda-duckdb"),
        }
        place = str(path) if name else ":memory:"
        return module.connect(place, read_only=bool(name), config=settings)
