"""Facts from real SQLite and DuckDB databases, and through their DB-API modules."""

import json
import sqlite3
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal

import duckdb
import pytest
from discovery_helpers import EXAMPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_stages import run_snapshot

from discovery.crawl import VOLATILE, crawl
from discovery.dates import iso_interval
from discovery.fact import Fact, from_table
from discovery.snapshot import bucket_file, snapshot
from discovery.sources import SqlConfig, TableConfig, make_source
from discovery.sources.observation import Since
from discovery.sources.sql import SqlSource
from infra.errors import ConfigError, SourceError
from infra.settings import validate

NEW = date(2023, 6, 30)
QUERY = (
    "SELECT id, who AS subject, what AS relation, whom AS object, began AS start, written FROM job"
)
ROWS = [
    (1, "Ada", "P108", "Navy", "2015", "2016-01-01 10:00:00"),
    (2, "Bob", "P108", "Apple", "2016-03", "2016-02-01 00:00:00"),
    (3, "Eve", "P54", "Ajax", "2018-01-01", "2017-12-31 23:59:59"),
    (4, "Kim", "P54", "Betis", "2030", "2018-01-01 00:00:00"),
]


def make(path, rows=ROWS):
    """A database of jobs, in the format of its suffix."""
    kind = "TIMESTAMP" if path.suffix == ".duckdb" else "TEXT"
    module = duckdb if path.suffix == ".duckdb" else sqlite3
    with closing(module.connect(str(path))) as connection:
        connection.execute(
            "CREATE TABLE job (id INTEGER, who TEXT, what TEXT, whom TEXT, began TEXT, "
            f"written {kind})"
        )
        connection.executemany("INSERT INTO job VALUES (?,?,?,?,?,?)", rows)
        connection.commit()
    return path


def change(path, statement, *values):
    module = duckdb if path.suffix == ".duckdb" else sqlite3
    with closing(module.connect(str(path))) as connection:
        connection.execute(statement, values)
        connection.commit()


def config(path, **settings):
    kind = "duckdb" if path.suffix == ".duckdb" else "sqlite"
    settings = {"connect": f"{kind}:{path.name}", "query": QUERY, "key": "id", **settings}
    return SqlConfig(name="hr", **settings)


def crawled(config, base_dir, as_of=NEW, cursor=None):
    """Facts by statement, skips, observations and the next cursor of a crawl of one source."""
    source = make_source(config, base_dir)
    signals = []
    while not signals or not signals[-1].done:
        signal = source.listen(as_of, signals[-1].cursor if signals else cursor, None)
        if signal is None:
            signals = None
            break
        signals.append(signal)
    if signals is not None:
        json.dumps([signal.cursor for signal in signals])
    parts = source.partitions(as_of, Since(cursor=cursor), signals)
    observations = [o for part in parts for o in source.fetch(part, None)]
    parsed = [source.parse(o) for o in observations]
    facts = {fact.statement_id: fact for p in parsed for fact in p.facts}
    skips = [skip for p in parsed for skip in p.skips]
    return facts, skips, observations, signals[-1].cursor if signals else None


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
        assert not skips


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
        found[n] = [fact.value for fact in facts.values()] or skips[0].reason
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
    assert len(facts) == 2
    assert [skip.reason for skip in skips] == ["object is not UTF-8 text"]


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


# What changed since a cursor


def test_slices_are_up_to_the_end_of_the_day(path, tmp_path):
    """Rows written after the day are not read; those written by then are, whatever the dates in
    them say: what is due later is for the diff."""
    facts, _, _, cursor = crawled(config(path, cursor="written"), tmp_path, date(2017, 12, 31))
    assert {fact.subject for fact in facts.values()} == {"Ada", "Bob", "Eve"}
    assert next(f.start for f in facts.values() if f.subject == "Eve") == iso_interval("2018-01-01")
    more, _, _, _ = crawled(config(path, cursor="written"), tmp_path, NEW, cursor)
    assert {fact.subject for fact in more.values()} == {"Kim"}
    assert crawled(config(path, cursor="written"), tmp_path, NEW, cursor)[0] == more


def test_a_row_written_again_takes_the_place_of_what_it_was(path, tmp_path):
    """An update moves the row beyond the cursor and keeps its statement's id."""
    settings = config(path, cursor="written")
    before, _, _, cursor = crawled(settings, tmp_path, NEW)
    change(path, "UPDATE job SET whom = 'IBM', written = '2020-05-05 00:00:00' WHERE id = 1")
    after, _, _, _ = crawled(settings, tmp_path, NEW, cursor)
    ((key, fact),) = after.items()
    assert fact.value == "IBM" and before[key].value == "Navy"
    assert {**before, **after} == crawled(settings, tmp_path, NEW)[0]


def test_rows_without_a_cursor_are_counted(path, tmp_path):
    """A row whose cursor is NULL belongs to no slice, and is not lost silently."""
    change(path, "UPDATE job SET written = NULL WHERE id < 3")
    facts, skips, _, _ = crawled(config(path, cursor="written", page_rows=1), tmp_path)
    assert len(facts) == 2
    assert [skip.reason for skip in skips] == ["row without cursor"] * 2


@pytest.mark.parametrize(
    "values",
    [
        [Decimal("1.5"), Decimal("2.25"), Decimal("10.125")],
        [date(2016, 1, 1), date(2017, 1, 1), date(2018, 1, 1)],
        [datetime(2016, 1, 1, 1, 2, 3, 456789), datetime(2016, 1, 2), datetime(2017, 1, 1)],
        [7, 8, 2**62],
        [0.1, 0.2, 0.30000000000000004],
    ],
    ids=["decimal", "date", "timestamp", "integer", "float"],
)
def test_a_cursor_survives_json(tmp_path, values):
    """Each kind of column is gone on from exactly where it was left: nothing twice, nothing
    lost."""
    kinds = {Decimal: "DECIMAL(18,3)", date: "DATE", datetime: "TIMESTAMP", int: "BIGINT"}
    kind = kinds.get(type(values[0]), "DOUBLE")
    with closing(duckdb.connect(str(tmp_path / "c.duckdb"))) as connection:
        connection.execute(f"CREATE TABLE t (id INTEGER, written {kind})")
        connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values)))
    query = "SELECT id, written, 's' AS subject, 'r' AS relation, id AS object FROM t"
    settings = SqlConfig(
        name="d", connect="duckdb:c.duckdb", query=query, key="id", cursor="written", page_rows=1
    )
    source = make_source(settings, tmp_path)
    cursor, seen = None, []
    for _ in values:
        with closing(duckdb.connect(str(tmp_path / "c.duckdb"))) as connection:
            connection.execute(
                f"CREATE OR REPLACE VIEW v AS SELECT * FROM t WHERE id <= {len(seen)}"
            )
        part = settings.model_copy(update={"query": query.replace("FROM t", "FROM v")})
        facts, _, _, cursor = crawled(part, tmp_path, NEW, json.loads(json.dumps(cursor)))
        seen.append(sorted(fact.value for fact in facts.values()))
    assert seen == [[str(n)] for n in range(len(values))]
    last = source.listen(NEW, cursor, None)
    assert last is not None and last.subjects == ()


writes = st.lists(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), max_size=8), max_size=4
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(writes, st.integers(1, 3))
def test_incremental_crawls_find_what_one_full_crawl_finds(tmp_path_factory, batches, page_rows):
    """Insertions and updates in any order, many at one time, with a crawl after each batch: the
    statements put on top of one another are those of one crawl at the end, in slices of any
    size."""
    base_dir = tmp_path_factory.mktemp("sql")
    path = make(base_dir / "hr.sqlite", [])
    settings = config(path, cursor="written", page_rows=page_rows)
    union, cursor = {}, None
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE UNIQUE INDEX job_id ON job (id)")
        for n, batch in enumerate(batches):
            for key, name in batch:
                row = (key, f"s{key}", "P54", name, None, f"2016-01-{n + 1:02d}")
                connection.execute("INSERT OR REPLACE INTO job VALUES (?,?,?,?,?,?)", row)
            connection.commit()
            facts, _, _, cursor = crawled(settings, base_dir, NEW, cursor)
            union |= facts
    assert union == crawled(settings, base_dir)[0]


def test_a_snapshot_made_in_two_steps_is_the_one_made_in_one(path, tmp_path, workspace, runner):
    """Through the stages: a crawl from the cursor put on the snapshot before has the digest of a
    snapshot made at once, with a row changed in between, and one that moved to another subject."""
    sources = (config(path, cursor="written"),)
    options = {"sources": sources, "base_dir": tmp_path}
    first = run_snapshot(workspace, runner, date(2016, 12, 31), **options)
    assert first.json("manifest.json")["rows"]["facts"] == 2
    change(path, "UPDATE job SET who = 'Eva', written = '2019-05-05 00:00:00' WHERE id = 1")
    crawl_on = workspace.run_stage(
        "crawl",
        "on",
        code=1,
        config={},
        inputs={},
        volatile=VOLATILE,
        body=lambda out: crawl(
            sources, NEW, previous=first, out=out, runner=runner, cache=tmp_path, base_dir=tmp_path
        ),
    )
    assert crawl_on.json("crawl.json")["sources"]["hr"]["coverage"] == "statement"
    steps = workspace.run_stage(
        "snapshot",
        "steps",
        code=1,
        config={},
        inputs={},
        body=lambda out: snapshot(crawl_on, sources, NEW, previous=first, out=out, runner=runner),
    )
    whole = run_snapshot(workspace, runner, NEW, version="whole", **options)
    assert facts_of(steps) == facts_of(whole)
    assert {fact.subject for fact in facts_of(whole)} == {"Bob", "Eva", "Eve", "Kim"}
    assert steps.json("manifest.json")["snapshot_id"] == whole.json("manifest.json")["snapshot_id"]


def facts_of(artifact):
    buckets = range(artifact.json("manifest.json")["num_buckets"])
    return [f for n in buckets for f in from_table(artifact.table(bucket_file("facts", n)), Fact)]


# What is refused


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
