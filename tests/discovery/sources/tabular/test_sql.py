"""Facts from real SQLite and DuckDB databases, and through their DB-API modules."""

import json
from datetime import date

import pytest
from discovery_helpers import EXAMPLES, stated
from pydantic import ValidationError
from sql_helpers import NEW, QUERY, ROWS, change, config, crawled, make

from discovery.sources import make_source
from discovery.sources.observation import Since
from discovery.sources.tabular.row_reader import LATER
from discovery.sources.tabular.sql import SqlSource
from discovery.sources.tabular.sql_config import SqlConfig
from discovery.sources.tabular.table import TableConfig
from infra.errors import ConfigError, SourceError
from infra.settings import validate


@pytest.fixture(params=["hr.sqlite", "hr.duckdb"])
def path(request, tmp_path):
    return make(tmp_path / request.param)


def test_a_database_says_what_a_table_of_its_rows_says(path, tmp_path):
    """Facts of a query are those of a JSON Lines file of its rows, but for the statements' ids; a
    start after the day is known to neither."""
    names = ("id", "subject", "relation", "object", "start")
    lines = [json.dumps(dict(zip(names, row[:5], strict=True))) for row in ROWS]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    table = make_source(TableConfig(name="hr", path="t.jsonl"), tmp_path)
    for as_of in (date(2015, 12, 31), date(2016, 12, 31), NEW, date(2031, 1, 1)):
        (partition,) = table.partitions(as_of, Since(), None)
        (observation,) = table.fetch(partition, None)
        expected = {(f.subject, f.value, f.start) for f in table.parse(observation).facts}
        facts, skips, _, _ = crawled(config(path, page_rows=3), tmp_path, as_of)
        assert {(f.subject, f.value, f.start) for f in facts.values()} == expected
        assert {skip.reason for skip in skips} <= {LATER}


def test_pages_are_of_so_many_rows_in_the_order_of_the_key(path, tmp_path):
    """A page is an observation; a second fetch gives the same bytes, and the record alone gives the
    same facts again without the database."""
    settings = config(path, page_rows=3)
    facts, _, observations, _ = crawled(settings, tmp_path)
    ids = [[json.loads(line)["id"] for line in o.payload.splitlines()] for o in observations]
    assert ids == [[1, 2, 3], [4]]
    again = crawled(settings, tmp_path)[2]
    assert [o.digest for o in again] == [o.digest for o in observations]
    change(path, "DELETE FROM job")
    offline = make_source(settings)
    replayed = [fact for o in observations for fact in offline.parse(o).facts]
    assert {fact.statement_id: fact for fact in replayed} == facts


def test_only_columns_that_play_a_part_are_recorded(path, tmp_path):
    """What a query selects besides is not kept."""
    wide = config(path, query=QUERY.replace("written FROM", "written, 'salary 90,000' AS pay FROM"))
    observations = crawled(wide, tmp_path)[2]
    assert observations and not any(b"salary" in o.payload for o in observations)


def test_values_are_canonical(tmp_path):
    """Dates come as ISO text, decimals as they were written, and what is bytes, a list or a
    document of megabytes costs its row, with the reason."""
    cells = ["DATE '2020-02-29'", "1.50::DECIMAL(9,2)", "TRUE", "'\\x00'::BLOB", "[1, 2]"]
    cells += ["repeat('x', 10000000)", "'nan'::DOUBLE", "TIMESTAMP '2020-01-01 10:00:00'"]
    unions = " UNION ALL ".join(
        f"SELECT {n} AS id, 'r' AS relation, 's' AS subject, {n} AS n" for n in range(len(cells))
    )
    found = {}
    for n, cell in enumerate(cells):
        query = f"SELECT id, subject, relation, {cell} AS object FROM ({unions}) WHERE n = {n}"
        facts, skips, _, _ = crawled(
            SqlConfig(name="d", connect="duckdb:", query=query, key="id"), tmp_path
        )
        found[n] = [fact.value for fact in stated(facts.values())] or skips[0].reason
    assert list(found.values()) == [
        ["2020-02-29"],
        ["1.50"],
        ["true"],
        "object is not text, a number or a date",
        "object is not text, a number or a date",
        "object is longer than 10000 characters",
        "object is not a finite number",
        ["2020-01-01T10:00:00"],
    ]


def test_text_that_is_not_utf8_costs_its_row(tmp_path):
    """SQLite keeps any bytes as text; one such cell does not cost the others."""
    path = make(tmp_path / "hr.sqlite")
    change(path, "UPDATE job SET whom = CAST(x'e9e9' AS TEXT) WHERE id = 2")
    facts, skips, _, _ = crawled(config(path), tmp_path)
    assert len(stated(facts.values())) == 2
    assert [skip.reason for skip in skips if skip.reason != LATER] == ["object is not UTF-8 text"]


def test_any_file_that_duckdb_reads(tmp_path):
    """Without a database DuckDB reads files, below the config file's directory."""
    (tmp_path / "x.csv").write_text("id,subject,relation,object\n1,Ada,P54,Ajax\n")
    settings = SqlConfig(name="d", connect="duckdb:", query="FROM 'x.csv'", key="id")
    facts, _, _, _ = crawled(settings, tmp_path)
    assert [fact.value for fact in facts.values()] == ["Ajax"]


def test_any_module(path, tmp_path, monkeypatch):
    """A DB-API module is used by its own `connect`, with arguments out of the environment; neither
    the settings nor what is recorded hold their values."""
    monkeypatch.setenv("HR_DATABASE", str(path))
    module = "duckdb" if path.suffix == ".duckdb" else "sqlite3"
    settings = SqlConfig(
        name="hr",
        module=module,
        arguments={"database": "$HR_DATABASE"},
        query=QUERY,
        key="id",
        cursor="written",
    )
    facts, _, observations, _ = crawled(settings, tmp_path)
    assert facts == crawled(config(path, cursor="written"), tmp_path)[0]
    kept = json.dumps([settings.model_dump(mode="json"), [o.url for o in observations]])
    assert str(path) not in kept and "$HR_DATABASE" in kept
    monkeypatch.delenv("HR_DATABASE")
    with pytest.raises(ConfigError, match="HR_DATABASE is not set"):
        crawled(settings, tmp_path)


def test_a_driver_that_quotes_a_secret(tmp_path, monkeypatch):
    """A secret that the driver puts in its message is not passed on."""
    monkeypatch.setenv("HR_SECRET", str(tmp_path / "swordfish" / "hr.db"))
    settings = SqlConfig(
        name="hr", module="duckdb", arguments={"database": "$HR_SECRET"}, query=QUERY, key="id"
    )
    with pytest.raises(SourceError) as caught:
        crawled(settings, tmp_path)
    assert "swordfish" not in str(caught.value) and "$HR_SECRET" in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [{"password": "x"}, {"dsn": "postgresql://me:secret@host/db"}, {"conninfo": "password=x"}],
)
def test_a_secret_in_the_config_is_refused(arguments):
    """It would stand in every record of a run; the message does not repeat it."""
    raw = {"name": "d", "module": "sqlite3", "arguments": arguments, "query": QUERY, "key": "id"}
    with pytest.raises(ConfigError, match="holds a secret") as caught:
        validate(SqlConfig, raw, "config")
    assert not any(value in str(caught.value) for value in arguments.values() if len(value) > 1)


@pytest.mark.parametrize("role", ["who", "what", "whom", "began"])
def test_no_column_takes_ten_megabytes(path, tmp_path, role):
    """A cell of that size costs its row, and the record of the crawl does not hold it."""
    change(path, f"UPDATE job SET {role} = ? WHERE id = 2", "x" * 10_000_000)
    facts, skips, observations, _ = crawled(config(path), tmp_path)
    assert {fact.subject for fact in stated(facts.values())} == {"Ada", "Eve"}
    roles = {"who": "subject", "what": "relation", "whom": "object", "began": "start"}
    found = [skip.reason for skip in skips if skip.reason != LATER]
    assert found == [f"{roles[role]} is longer than 10000 characters"]
    assert len(skips[0].sample) <= 200 and sum(len(o.payload) for o in observations) < 20_000


@pytest.mark.parametrize("depth", [2, 400])
def test_lists_of_lists_cost_their_row(tmp_path, depth):
    """However deep."""
    query = (
        f"SELECT 1 AS id, 's' AS subject, 'r' AS relation, {'[' * depth}1{']' * depth} AS object"
    )
    settings = SqlConfig(name="d", connect="duckdb:", query=query, key="id")
    facts, skips, _, _ = crawled(settings, tmp_path)
    assert not stated(facts.values())
    assert [skip.reason for skip in skips] == ["object is not text, a number or a date"]


def test_a_key_of_ten_megabytes_is_none(tmp_path):
    """Its row is refused; the others are known by theirs."""
    query = "SELECT *, 's' AS subject, 'r' AS relation, 'o' AS object FROM (VALUES ('a'), ('b'), "
    query += "(repeat('k', 10000000))) keys(id)"
    settings = SqlConfig(name="d", connect="duckdb:", query=query, key="id")
    facts, skips, _, _ = crawled(settings, tmp_path)
    assert len(facts) == 2
    assert [skip.reason for skip in skips] == ["key is longer than 10000 characters"]


# What changed since a cursor


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"query": "DROP TABLE job"}, "Give one SELECT"),
        ({"query": "SELECT 1; DELETE FROM job"}, "more than one statement"),
        ({"query": "WITH x AS (DELETE FROM job RETURNING *) SELECT * FROM x"}, "DELETE"),
        ({"query": "SELECT * INTO copy FROM job"}, "INTO"),
        ({"query": "/* SELECT */ UPDATE job SET id = 1"}, "Give one SELECT"),
        ({"key": "id; DROP TABLE job"}, "key"),
        ({"key": None}, "key"),
        ({"cursor": "written)"}, "cursor"),
        ({"connect": "mysql:hr"}, "connect"),
        ({"connect": None}, "one of them"),
        ({"module": "sqlite3"}, "one of them"),
        ({"arguments": {"database": "x"}}, "those of a `module`"),
        ({"columns": {"objct": "x"}}, "did you mean 'object'"),
    ],
)
def test_settings_that_are_refused(tmp_path, settings, words):
    """One SELECT, one place, and column names that are names."""
    with pytest.raises(ValidationError, match=words):
        config(tmp_path / "hr.sqlite", **settings)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, 'delete; into' AS relation FROM job;",
        "select /* update; */ id from job -- drop\n",
        '(SELECT "delete" FROM job) ',
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "FROM 'x.csv'",
    ],
)
def test_queries_that_only_look_like_more(tmp_path, query):
    """Words in quotes and comments are not statements."""
    config(tmp_path / "hr.sqlite", query=query)


def test_nothing_is_written(path, tmp_path):
    """Even a statement that gets past our eyes leaves the file as it was: the connection only
    reads, and a query is put in parentheses."""
    before = path.read_bytes()
    sly = config(path).model_copy(update={"query": "DELETE FROM job RETURNING id"})
    with pytest.raises(SourceError, match="does not answer"):
        crawled(sly, tmp_path)
    source = SqlSource(config(path), tmp_path)
    statement = "UPDATE job SET whom = 'x'"
    with pytest.raises(SourceError), source.database.rows(statement, size=1):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"connect": "sqlite:absent.sqlite"}, SourceError, "there is no file"),
        ({"connect": "duckdb:absent.duckdb"}, SourceError, "there is no file"),
        ({"connect": "duckdb:noise.duckdb"}, SourceError, "does not answer"),
        ({"connect": "sqlite:noise.sqlite"}, SourceError, "does not answer"),
        ({"query": "SELECT * FROM jobs"}, SourceError, "jobs"),
        ({"query": "SELECT * FROM (job"}, SourceError, "does not answer"),
        ({"key": "ident"}, SourceError, "ident"),
        ({"columns": {"subject": "subjct"}}, ConfigError, "did you mean 'subject'"),
        ({"cursor": "changed"}, SourceError, "changed"),
        ({"query": QUERY + " WHERE id > 99"}, SourceError, "gives no row"),
        ({"query": QUERY + " UNION ALL " + QUERY}, SourceError, "two rows have id = '1'"),
        ({"connect": None, "module": "no_such_driver"}, ConfigError, "Install the database's"),
        ({"connect": None, "module": "json"}, ConfigError, "no DB-API 2.0 module"),
        ({"connect": None, "module": "sqlite3"}, SourceError, "does not answer"),
    ],
)
def test_what_goes_wrong_is_one_line(path, tmp_path, settings, error, words):
    """A missing file or module, a wrong column, a query that fails: each is one line that names the
    source."""
    for name in ("noise.duckdb", "noise.sqlite"):
        (tmp_path / name).write_bytes(b"no database " * 500)
    with pytest.raises(error, match=words) as caught:
        crawled(config(path, **settings), tmp_path)
    assert "\n" not in str(caught.value) and "source hr" in str(caught.value)


def test_a_key_that_is_null(path, tmp_path):
    """Rows without a key are counted; they have no name of their own."""
    change(path, "UPDATE job SET id = NULL WHERE id < 3")
    facts, skips, _, _ = crawled(config(path), tmp_path, date(2031, 1, 1))
    assert len(facts) == 2
    assert [skip.reason for skip in skips] == ["row without key"] * 2


def test_the_examples_table_through_duckdb(tmp_path):
    """The demo's table of dated facts, read as a file by DuckDB, says what the table source
    says."""
    name = "data/templama_dated_facts.jsonl"
    table = make_source(TableConfig(name="t", path=name), EXAMPLES)
    (partition,) = table.partitions(NEW, Since(), None)
    (observation,) = table.fetch(partition, None)
    expected = {(f.subject, f.relation, f.value, f.point) for f in table.parse(observation).facts}
    query = f"SELECT *, row_number() OVER () AS n FROM read_json('{name}')"
    facts, _, _, _ = crawled(SqlConfig(name="t", connect="duckdb:", query=query, key="n"), EXAMPLES)
    assert {(f.subject, f.relation, f.value, f.point) for f in facts.values()} == expected
