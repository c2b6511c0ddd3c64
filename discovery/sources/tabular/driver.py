"""How the drivers of databases differ (PEP 249): parameters, cursors, how a file is opened without
writing, how a query is ended, and which errors mean a lost connection."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from infra.files.regular import irregular

PARAMETER = "\0"
"""Stands for a parameter in a statement, whatever the driver's paramstyle."""
MARKS = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric": ":{}", "named": ":{}"}
"""PEP 249 paramstyle -> how it writes a parameter, given the parameter's number."""
STOPS = ("interrupt", "cancel")
"""Methods of connections that end a running query from another thread: of sqlite3 and DuckDB, and
of psycopg."""
_LOST_STATES = re.compile("08...|57P0[123]|53300|40001|40P01|55P03")
"""SQLSTATEs (SQL standard, and PostgreSQL appendix A) of a lost connection, a server that stops or
starts, too many clients, a deadlock and a lock: the same query may succeed later."""
_LOST_NUMBERS = frozenset({1040, 1053, 1205, 1213, 2002, 2003, 2006, 2013, 2055})
"""Error numbers of MySQL and MariaDB for the same faults."""
_LOST_WORDS = re.compile(
    "connection (?:[^:]{0,80}: )?(?:timed? ?out|reset|refused)"
    "|connection (?:is |was )?(?:lost|closed|already closed)"
    "|(?:closed|terminated|lost) (?:the )?connection|closed unexpectedly|terminating connection"
    "|gone away|starting up|shutting down|too many (?:connections|clients)|timeout expired"
    "|broken pipe|temporary failure in name|database is locked|conflicting lock",
    re.IGNORECASE,
)
"""Words of the errors of drivers that give neither a state nor a number, as while they connect."""


def sqlite_uri(path: Path) -> str:
    """The URI by which SQLite reads a file and writes nothing, neither in it nor beside it.

    A database in WAL mode that nobody has open is called immutable: else SQLite would make a `-shm`
    file, and could not read it in a directory that cannot be written (sqlite.org/wal.html).
    """
    with path.open("rb") as stream:
        is_wal = stream.read(20)[18:] == b"\x02\x02"
    is_open = path.with_name(f"{path.name}-wal").exists()
    return f"{path.as_uri()}?{'immutable=1' if is_wal and not is_open else 'mode=ro'}"


def read_only_arguments(module: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments of a module's `connect` by which sqlite3 and DuckDB make no file and write to none;
    those of other modules are returned as they are given.

    Raises OSError where there is no such file.
    """
    place = given.get("database")
    if module not in ("sqlite3", "duckdb") or not isinstance(place, str | Path):
        return given
    if str(place).startswith((":memory:", "file:", "md:")) or not str(place):
        return given
    path = Path(place).absolute()
    require_file(path)
    if module == "duckdb":
        return {"read_only": True, **given}
    return {"check_same_thread": False, **given, "database": sqlite_uri(path), "uri": True}


def require_file(path: Path) -> None:
    """Raises OSError unless there is a regular file: to open a database would make one."""
    what = irregular(path)
    if what is not None:
        raise OSError(f"{path} is {what}, and a database is a file")
    if not path.is_file():
        raise OSError(f"there is no file {path}")


def open_cursor(connection: Any) -> Any:
    """A server-side cursor, which sends rows as they are fetched, if the driver has one."""
    try:
        return connection.cursor(name="corrigenda")
    except TypeError:
        return connection.cursor()


def execute(cursor: Any, module: ModuleType, statement: str, parameters: Sequence[Any]) -> None:
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
