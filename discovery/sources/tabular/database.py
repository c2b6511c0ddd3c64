"""Read the rows of one SELECT statement over a read-only connection to a database.

DuckDB and SQLite files are opened read-only; any other database is reached through its DB-API 2.0
module (PEP 249). A user's statement is used only in parentheses, as a table to select from, where
every database accepts a query and nothing else. So it changes nothing, and may be run again where
the database, and not the statement, is at fault (`LostConnection`).
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from infra.errors import ConfigError, CorrigendaError, SourceError
from infra.http.faults import backoff_s
from infra.secrets.masks import mask_message
from infra.secrets.scrubber import Scrubber

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""Pattern of the column names that we write into a statement ourselves."""
PARAMETER = "\0"
"""Stands for a parameter in a statement, whatever the driver's paramstyle."""
MARKS = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric": ":{}", "named": ":{}"}
"""PEP 249 paramstyle -> how it writes a parameter, given the parameter's number."""

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

    Raises ValueError where one looks like a secret and is not the name of an environment variable.
    """
    for name, value in arguments.items():
        named = not isinstance(value, str) or value.startswith("$")
        if not named and (_SECRET_NAME.search(name) or _SECRET_TEXT.search(value)):
            raise ValueError(
                f"argument {name!r} holds a secret. Put it in an environment variable and write "
                'its name, "$NAME"'
            )
    return arguments


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

    @contextmanager
    def rows(
        self, statement: str, parameters: Sequence[Any] = (), *, size: int
    ) -> Iterator[tuple[list[str], Iterator[list[tuple]]]]:
        """Run a statement: the names of its columns, and its rows in lists of `size`.

        parameters  values for the `PARAMETER`s in the statement, in order

        Raises ConfigError for a missing module, LostConnection for a database that is at fault,
        SourceError for a statement that is. Errors show no secrets.
        """
        module, is_reading = self._module(), False
        try:
            with (
                closing(self._connection(module)) as connection,
                closing(_cursor(connection)) as cursor,
            ):
                _execute(cursor, module, statement, parameters)
                names = [column[0] for column in cursor.description]
                is_reading = True
                yield names, _lists(cursor, size)
        except CorrigendaError:
            raise
        except Exception as error:  # drivers pass on those of the packages they are made of too
            if is_reading and not isinstance(error, (module.Error, TypeError, OSError)):
                raise
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
            connection = module.connect(**self.arguments)
            for attribute in ("read_only", "readonly"):  # psycopg 3, psycopg2
                if hasattr(connection, attribute):
                    setattr(connection, attribute, True)
            return connection
        name = (self.connect or "").partition(":")[2]
        path = (self.base_dir / name).absolute()
        if name and not path.is_file():
            raise OSError(f"there is no file {path}")
        if self._kind == "sqlite":
            connection = module.connect(f"{path.as_uri()}?mode=ro", uri=True)
            # Text that is not UTF-8 must cost its own row only, not the whole table.
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            return connection
        settings = {"file_search_path": str(self.base_dir.absolute())}
        place = str(path) if name else ":memory:"
        return module.connect(place, read_only=bool(name), config=settings)


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


def _lists(cursor: Any, size: int) -> Iterator[list[tuple]]:
    """The rows of a cursor in lists of `size`."""
    rows: Sequence[tuple] = cursor.fetchmany(size)
    while rows:
        yield list(rows)
        rows = cursor.fetchmany(size)
