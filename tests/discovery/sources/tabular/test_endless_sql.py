"""A query that never ends is given up in time, and reading a database writes nothing."""

import shutil
import sqlite3
import stat
import time
from contextlib import closing

import pytest
from sql_helpers import config, crawled, make

from discovery.sources.tabular.sql_config import SqlConfig
from infra.errors import SourceError

COLUMNS = "n AS id, 'Ada' AS subject, 'P108' AS relation, 'Navy' AS object"
ENDLESS = {
    "a recursion": f"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n FROM t) "
    f"SELECT {COLUMNS} FROM t",
    "a recursion that is counted": "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t)"
    f" SELECT {COLUMNS} FROM (SELECT count(*) AS n FROM t) c",
    "joins without a condition": f"SELECT {COLUMNS} FROM (SELECT count(*) AS n FROM "
    + ", ".join(f"job j{i}" for i in range(24))
    + ") c",
}


@pytest.fixture(params=["hr.sqlite", "hr.duckdb"])
def path(request, tmp_path):
    return make(tmp_path / request.param)


@pytest.mark.parametrize("what", ENDLESS)
def test_a_query_without_an_end_is_interrupted(what, path, tmp_path):
    """After `max_answer_s`, in one line that names the setting; by the module as well."""
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"has not answered after 0\.3 s") as caught:
        crawled(config(path, query=ENDLESS[what], max_answer_s=0.3), tmp_path)
    assert "max_answer_s" in str(caught.value) and "\n" not in str(caught.value)
    assert time.monotonic() - began < 10


def test_more_rows_than_are_wanted_are_an_error(path, tmp_path):
    """In one line that names the setting; as many as are wanted are read."""
    with pytest.raises(SourceError, match=r"more than 3 rows.*max_rows"):
        crawled(config(path, max_rows=3), tmp_path)
    assert len(crawled(config(path, max_rows=4), tmp_path)[0]) == 3


def test_bounds_are_no_part_of_what_a_source_is(path):
    """A crawl with other bounds goes on from the last one, and older records stay valid."""
    wide = config(path, max_rows=9, max_answer_s=9)
    assert wide.model_dump(mode="json") == config(path).model_dump(mode="json")


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_sqlite_writes_neither_in_the_file_nor_beside_it(mode, tmp_path):
    """Whatever its journal; a database in WAL mode is read in a folder that is read-only too."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = make(folder / "hr.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
    before = files_of(folder)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert crawled(config(path), folder)[0]
    assert files_of(folder) == before


def test_what_is_still_in_the_log_of_a_writer_is_read(tmp_path):
    """While another process has the database open, its newest rows are in the log beside it."""
    path = make(tmp_path / "hr.sqlite")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("INSERT INTO job VALUES (9, 'Zoe', 'P108', 'Navy', '2015', '2016')")
        writer.commit()
        facts, *_ = crawled(config(path), tmp_path)
    assert "Zoe" in {fact.subject for fact in facts.values()}


@pytest.mark.parametrize("module", ["sqlite3", "duckdb"])
def test_a_missing_database_is_not_made(module, tmp_path):
    """By `connect` and by the module: an error in one line, and no file."""
    missing = tmp_path / "none.db"
    kind = module.removesuffix("3")
    for given in (
        {"connect": f"{kind}:none.db"},
        {"module": module, "arguments": {"database": str(missing)}},
    ):
        fixed = {"name": "hr", "query": "SELECT 1 AS id", "key": "id"}
        settings = SqlConfig.model_validate({**fixed, **given})
        with pytest.raises(SourceError, match="there is no file"):
            crawled(settings, tmp_path)
    assert not missing.exists()


@pytest.mark.parametrize("module", ["sqlite3", "duckdb"])
def test_a_module_opens_its_file_for_reading(module, tmp_path):
    """The driver itself would open it for writing."""
    path = make(tmp_path / ("hr.sqlite" if module == "sqlite3" else "hr.duckdb"))
    shutil.copyfile(path, tmp_path / "copy")
    by_module = config(path, connect=None, module=module, arguments={"database": str(path)})
    assert crawled(by_module, tmp_path)[0] == crawled(config(path), tmp_path)[0]
    assert path.read_bytes() == (tmp_path / "copy").read_bytes()
