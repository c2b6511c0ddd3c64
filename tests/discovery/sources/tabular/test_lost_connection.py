"""A database that loses a connection is asked again; a query that is wrong is not."""

import sqlite3
import sys
from types import ModuleType

import pytest
from sql_helpers import QUERY, config, crawled, make

from discovery.sources.tabular import database
from discovery.sources.tabular.database import TRIES, LostConnection
from discovery.sources.tabular.driver import is_lost
from infra.errors import SourceError


class Failing(ModuleType):
    """A DB-API module over SQLite whose calls of one kind fail a number of times."""

    paramstyle, Error = "qmark", sqlite3.Error

    def __init__(self, path, at, error, times):
        super().__init__("failing_driver")
        self.path, self.at, self.error, self.times = path, at, error, times
        self.num_connections = 0

    def fail(self, at):
        if at == self.at and self.times > 0:
            self.times -= 1
            raise self.error

    def connect(self):
        self.num_connections += 1
        self.fail("connect")
        return Connection(sqlite3.connect(self.path), self)


class Connection:
    """A connection or a cursor of SQLite's, or a failure of it."""

    def __init__(self, inner, module):
        self.inner, self.module = inner, module

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def cursor(self):
        return Connection(self.inner.cursor(), self.module)

    def execute(self, *args):
        self.module.fail("execute")
        self.inner.execute(*args)

    def fetchmany(self, size):
        rows = self.inner.fetchmany(size)
        if len(rows) < size:  # a later page
            self.module.fail("fetch")
        return rows


LOST = sqlite3.OperationalError("server closed the connection unexpectedly")


@pytest.fixture(params=["connect", "execute", "fetch"])
def failing(request, tmp_path, monkeypatch):
    """A module that fails at a place, and what was slept."""
    slept = []
    monkeypatch.setattr(database.time, "sleep", slept.append)

    def install(error, times):
        module = Failing(make(tmp_path / "hr.sqlite"), request.param, error, times)
        monkeypatch.setitem(sys.modules, "failing_driver", module)
        return module

    return install, slept


@pytest.mark.parametrize("cursor", [None, "written"])
def test_a_connection_that_is_lost(failing, tmp_path, cursor):
    """While it is made, at the query, or between two pages of rows: the facts are those of a
    database that never failed, each once."""
    install, slept = failing
    install(LOST, 2)
    settings = {"page_rows": 3, "cursor": cursor}
    driver = {"connect": None, "module": "failing_driver"}
    found = crawled(config(tmp_path / "hr.sqlite", **driver, **settings), tmp_path)
    whole = crawled(config(tmp_path / "hr.sqlite", **settings), tmp_path)
    assert found[0] == whole[0] and found[1] == whole[1] and found[3] == whole[3]
    assert len(found[2]) == len(whole[2]) and len(slept) == 2


def test_a_database_that_stays_away(failing, tmp_path):
    """One line says whose fault it is and what to do."""
    install, slept = failing
    module = install(LOST, 99)
    settings = {"connect": None, "module": "failing_driver", "page_rows": 3}
    with pytest.raises(LostConnection, match="database is at fault, not the query: run the same"):
        crawled(config(tmp_path / "hr.sqlite", **settings), tmp_path)
    assert module.num_connections == TRIES and len(slept) == TRIES - 1


def test_a_query_that_is_wrong_is_said_at_once(failing, tmp_path):
    install, slept = failing
    module = install(sqlite3.OperationalError("no such column: who"), 99)
    settings = {"connect": None, "module": "failing_driver", "page_rows": 3, "query": QUERY}
    with pytest.raises(SourceError, match="Check the connection and the query"):
        crawled(config(tmp_path / "hr.sqlite", **settings), tmp_path)
    assert module.num_connections == 1 and not slept


class DriverError(Exception):
    """An error with the attributes of one driver or another."""

    def __init__(self, *args, **attributes):
        super().__init__(*args)
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (DriverError("x", sqlstate="57P01"), True),
        (DriverError("x", sqlstate="08006"), True),
        (DriverError("x", pgcode="40001"), True),
        (DriverError("syntax error", sqlstate="42601"), False),
        (DriverError("connection refused for user", sqlstate="28P01"), False),
        (DriverError(2013, "Lost connection to MySQL server during query"), True),
        (DriverError(2006, "MySQL server has gone away"), True),
        (DriverError(1045, "Access denied for user"), False),
        (DriverError(1064, "You have an error in your SQL syntax"), False),
        (DriverError("connection failed: Connection refused"), True),
        (DriverError("connection to server at 'h', port 5432 failed: timeout expired"), True),
        (DriverError("FATAL:  the database system is starting up"), True),
        (DriverError("SSL connection has been closed unexpectedly"), True),
        (DriverError("the connection is closed"), True),
        (DriverError("could not translate host name: Temporary failure in name resolution"), True),
        (DriverError("could not translate host name: Name or service not known"), False),
        (DriverError('FATAL:  password authentication failed for user "x"'), False),
        (DriverError('FATAL:  database "x" does not exist'), False),
        (DriverError("IO Error: Could not set lock on file: Conflicting lock is held"), True),
        (DriverError("database is locked"), True),
        (ConnectionResetError("reset"), True),
        (TimeoutError("slow"), True),
    ],
)
def test_which_errors_are_the_databases(error, lost):
    """As psycopg, psycopg2, MySQL's drivers, DuckDB and SQLite raise them."""
    assert is_lost(error) is lost
