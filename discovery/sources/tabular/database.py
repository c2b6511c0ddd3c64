"""Read the rows of one SELECT statement over a read-only connection to a database.

DuckDB and SQLite files are opened read-only; any other database is reached through its DB-API 2.0
module (PEP 249). A user's statement is used only in parentheses, as a table to select from, where
every database accepts a query and nothing else. So it changes nothing, and may be run again where
the database, and not the statement, is at fault (`LostConnection`). A query that never ends is
interrupted (`bounded`).
"""

from __future__ import annotations

import importlib
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from infra.errors import ConfigError, CorrigendaError, SourceError
from infra.files.regular import irregular
from infra.http.faults import backoff_s
from infra.secrets.masks import mask_message, pieces
from infra.secrets.scrubber import Scrubber

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""Pattern of the column names that we write into a statement ourselves."""
PARAMETER = "\0"
"""Stands for a parameter in a statement, whatever the driver's paramstyle."""
MARKS = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric": ":{}", "named": ":{}"}
"""PEP 249 paramstyle -> how it writes a parameter, given the parameter's number."""

MAX_ANSWER_S = 600.0
"""Longest time, in seconds, that a database may take for its next rows, unless the config says
otherwise."""
MAX_ROWS = 20_000_000
"""Rows of the largest result, likewise."""
TRIES = 4
"""Tries of a query whose connection is lost: the pauses between them take 35 s."""
_LOST_STATES = re.compile("08...|57P0[123]|53300|40001|40P01|55P03")
"""SQLSTATEs (SQL standard, and PostgreSQL appendix A) of a lost connection, a server that stops or
starts, too many clients, a deadlock and a lock: the same query may succeed later."""
_LOST_NUMBERS = frozenset({1040, 1053, 1205, 1213, 2002, 2003, 2006, 2013, 2055})
"""Error numbers of MySQL and MariaDB for the same."""
_LOST_WORDS = re.compile(
    "connection (?:[^:]{0,80}: )?(?:timed? ?out|reset|refused)"
    "|connection (?:is |was )?(?:lost|closed|already closed)"
    "|(?:closed|terminated|lost) (?:the )?connection|closed unexpectedly|terminating connection"
    "|gone away|starting up|shutting down|too many (?:connections|clients)|timeout expired"
    "|broken pipe|temporary failure in name|database is locked|conflicting lock",
    re.IGNORECASE,
)
"""What drivers say where they give neither, as while they connect."""

_QUOTED = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | --[^\n]* | /\*.*?\*/""", re.VERBOSE | re.DOTALL
)
_FIRST = re.compile(r"\s*\(*\s*(select|with|from)\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(insert|update|delete|merge|into)\b", re.IGNORECASE)
_SECRET_NAME = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"://[^/\s]*:[^/\s]*@|(pass\w*|pwd|secret|token)\s*=", re.IGNORECASE)


def one_query(text: str) -> str:
    """The text without a semicolon at its end.

    Raises ValueError unless it is one SELECT statement (or WITH, or DuckDB's FROM) that does not
    write.
    """
    text = text.strip().removesuffix(";").rstrip()
    if PARAMETER in text:
        raise ValueError("query holds a NUL character")
    bare = _QUOTED.sub(" ", text)
    if ";" in bare:
        raise ValueError("query is more than one statement. Give one SELECT")
    if not _FIRST.match(bare):
        first = next(iter(bare.split()), "nothing")
        raise ValueError(f"query begins with {first}. Give one SELECT")
    written = _WRITES.search(bare)
    if written:
        raise ValueError(f"query has {written[0].upper()}, and sources are only read")
    return text


def no_secrets(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments themselves.

    Raises ValueError where one looks like a secret, or like a text with one, and no reference
    stands in its place.
    """
    for name, value in arguments.items():
        if not isinstance(value, str):
            continue
        looks = _SECRET_NAME.search(name) or _SECRET_TEXT.search(value)
        if looks and any(piece.certain for piece in pieces("arguments", {name: value})):
            raise ValueError(
                f"argument {name!r} holds a secret. Put it in an environment variable and write "
                'its name in its place, "$NAME" or "${NAME}"'
            )
    return arguments


STOPS = ("interrupt", "cancel")
"""Methods of connections that end a running query from another thread: of sqlite3 and DuckDB, and
of psycopg."""
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
                closing(_cursor(connection)) as cursor,
            ):
                with bounded((cursor, connection), self.max_answer_s, late):
                    _execute(cursor, module, statement, parameters)
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
            connection = module.connect(**_read_only(str(self.module), self.arguments))
            for attribute in ("read_only", "readonly"):  # psycopg 3, psycopg2
                if hasattr(connection, attribute):
                    setattr(connection, attribute, True)
            return connection
        name = (self.connect or "").partition(":")[2]
        path = (self.base_dir / name).absolute()
        if name:
            _require_file(path)
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


def sqlite_uri(path: Path) -> str:
    """The URI by which SQLite reads a file and writes nothing, neither in it nor beside it.

    A database in WAL mode that nobody has open is called immutable: else SQLite would make a `-shm`
    file, and could not read it in a directory that cannot be written (sqlite.org/wal.html).
    """
    with path.open("rb") as stream:
        is_wal = stream.read(20)[18:] == b"\x02\x02"
    is_open = path.with_name(f"{path.name}-wal").exists()
    return f"{path.as_uri()}?{'immutable=1' if is_wal and not is_open else 'mode=ro'}"


@contextmanager
def bounded(places: Sequence[Any], seconds: float, late: threading.Event) -> Iterator[None]:
    """Interrupt what runs inside the `with` after so many seconds.

    places  cursor and connection: a cursor of DuckDB is a connection of its own
    late    set before the interruption, which drivers raise as an error of their own

    A driver without one of the methods `STOPS` cannot be interrupted.
    """
    stops = [getattr(one, name) for one in places for name in STOPS if hasattr(one, name)]

    def interrupt() -> None:
        late.set()
        for stop in stops:
            with suppress(Exception):  # a driver's errors have no common class
                stop()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _read_only(module: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments of a module's `connect` by which it makes no file: those of sqlite3 and DuckDB.

    Raises OSError where there is no such file.
    """
    place = given.get("database")
    if module not in ("sqlite3", "duckdb") or not isinstance(place, str | Path):
        return given
    if str(place).startswith((":memory:", "file:", "md:")) or not str(place):
        return given
    path = Path(place).absolute()
    _require_file(path)
    if module == "duckdb":
        return {"read_only": True, **given}
    return {"check_same_thread": False, **given, "database": sqlite_uri(path), "uri": True}


def _require_file(path: Path) -> None:
    """Raises OSError unless there is a regular file: to open a database would make one."""
    what = irregular(path)
    if what is not None:
        raise OSError(f"{path} is {what}, and a database is a file")
    if not path.is_file():
        raise OSError(f"there is no file {path}")


def is_lost(error: Exception) -> bool:
    """Whether an error of a driver is the fault of the database or the network.

    It is told by its SQLSTATE (`sqlstate` of psycopg and mysql-connector, `pgcode` of psycopg2),
    else by its number (the first argument in MySQLdb and PyMySQL), else by its words.
    """
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str) and state not in ("HY000", ""):
        return _LOST_STATES.fullmatch(state) is not None
    number = error.args[0] if error.args else None
    if isinstance(number, int):
        return number in _LOST_NUMBERS
    return _LOST_WORDS.search(str(error)) is not None


def _cursor(connection: Any) -> Any:
    """A server-side cursor, which sends rows as they are fetched, if the driver has one."""
    try:
        return connection.cursor(name="corrigenda")
    except TypeError:
        return connection.cursor()


def _execute(cursor: Any, module: ModuleType, statement: str, parameters: Sequence[Any]) -> None:
    """Execute a statement, with parameters written in the module's paramstyle."""
    if not parameters:
        cursor.execute(statement)
        return
    mark = MARKS[module.paramstyle]
    if mark == "%s":
        statement = statement.replace("%", "%%")
    first, *others = statement.split(PARAMETER)
    numbered = (mark.format(i) + text for i, text in enumerate(others, 1))
    cursor.execute(first + "".join(numbered), list(parameters))
