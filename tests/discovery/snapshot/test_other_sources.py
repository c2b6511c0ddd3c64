"""A source is its settings and not its name: under others it is read anew, and nothing that only
the former one said stays."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from discovery_helpers import make_crawl, make_fact, put_snapshot

from discovery.facts.fact import FACT_SCHEMA
from discovery.facts.tables import to_table
from discovery.snapshot.coverage import Replaced, other_sources
from discovery.snapshot.output import MANIFEST, Snapshot
from discovery.sources import SourceConfig
from discovery.sources.rdf.files import RdfConfig
from discovery.sources.tabular.sql_config import SqlConfig
from discovery.sources.tabular.table import TableConfig
from discovery.sources.web.config import FeedConfig
from discovery.sources.wikibase.config import DumpConfig, WikidataConfig
from infra.execution.runner import InProcessRunner
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace

DAYS = (date(2020, 6, 30), date(2021, 6, 30))
KINDS: dict[str, tuple[SourceConfig, dict[str, Any]]] = {
    "wikidata": (
        WikidataConfig(name="x", entities=("Q1",)),
        {"endpoint": "http://localhost:1", "entities": ("Q2",), "relations": ("P6",)},
    ),
    "sql": (
        SqlConfig(name="x", connect="sqlite:a.db", query="select * from f", key="id"),
        {"connect": "sqlite:b.db", "query": "select * from g", "columns": {"subject": "who"}},
    ),
    "feed": (
        FeedConfig(name="x", feeds=("https://a.org/f",), relations=("P6",)),
        {"feeds": ("https://b.org/f",), "relations": ("P7",), "follow": True},
    ),
    "table": (TableConfig(name="x", path="a.csv"), {"columns": {"subject": "who"}}),
    "dump": (DumpConfig(name="x", path="a.json"), {"relations": ("P6",), "entities": ("Q1",)}),
    "rdf": (RdfConfig(name="x", path="a.nt"), {"relations": ("P6",), "prefixes": {"http": ""}}),
}
"""Kind -> a config, and other values of settings that decide what the source says."""


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_source_says_is_its_identity(kind: str) -> None:
    """Each of the settings makes another source; who asks, how fast, and the name of a copy's file
    do not."""
    config, others = KINDS[kind]
    for name, value in others.items():
        assert config.model_copy(update={name: value}).source_id != config.source_id, name
    kept = {"contact": "a@example.org", "min_interval_s": 9.0, "path": "b"}
    kept = {name: value for name, value in kept.items() if name in type(config).model_fields}
    if kind != "sql":
        assert kept and config.model_copy(update=kept).source_id == config.source_id


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_settings_of_another_file_say_something_else(kind: str) -> None:
    """Between two lines the name of the file counts too."""
    config, others = KINDS[kind]
    recorded = config.model_dump(mode="json")
    assert config.says_the_same({**recorded, **{k: 1 for k in recorded if k == "contact"}})
    others = {**others, **({"path": "b"} if "path" in recorded else {})}
    for name, value in others.items():
        assert not config.model_copy(update={name: value}).says_the_same(recorded), name


def test_a_source_of_which_nothing_is_recorded_is_taken_at_its_name() -> None:
    """As in a snapshot of an earlier version."""
    crawled = {name: {"settings": name} for name in "abcd"} | {"e": {}}
    before = {"settings": {"a": "a", "b": "x", "c": None, "e": "e"}}
    assert other_sources(before, crawled) == {"b"}
    assert other_sources(None, crawled) == set()


def test_what_could_not_be_read_of_another_source_stays() -> None:
    """A subject that was asked for and not got says nothing against its earlier facts."""
    facts = [make_fact("Q5", key, subject=key, source="wd") for key in ("Q1", "Q2")]
    replaced = Replaced(whole=frozenset({"wd"}), unread={"wd": pa.array(["Q2"])})
    table = to_table(facts, FACT_SCHEMA)
    assert replaced.stays(table, "subject").to_pylist() == [False, True]


def database(path: Path, *rows: tuple[int, str, str]) -> None:
    """Write a table of jobs, with a cursor column."""
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE f (id, subject, relation, object, date, seq)")
        filled = [(n, who, "P108", whom, "2015", n) for n, who, whom in rows]
        connection.executemany("INSERT INTO f VALUES (?, ?, ?, ?, ?, ?)", filled)


@pytest.mark.parametrize(
    "settings",
    [
        {"query": "SELECT * FROM f WHERE id != 1"},
        {"connect": "sqlite:b.db"},
        {"columns": {"subject": "object", "object": "subject"}},
    ],
)
def test_under_another_query_or_database_a_snapshot_is_that_of_a_first_crawl(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Although a cursor was kept: rows before it are read, and those of the former query go."""
    database(tmp_path / "a.db", (1, "Ada", "Navy"), (2, "Bob", "Apple"))
    database(tmp_path / "b.db", (1, "Eve", "Ajax"))
    former = SqlConfig(
        name="hr", connect="sqlite:a.db", query="SELECT * FROM f", key="id", cursor="seq"
    )
    later = SqlConfig.model_validate({**former.model_dump(), **settings})
    workspace = Workspace(tmp_path / "workspace")

    def made(config: SqlConfig, version: str, number: int, previous: Artifact | None) -> Artifact:
        about = ([config], DAYS[number])
        crawled = make_crawl(
            workspace, InProcessRunner(), *about,
            version=version, base_dir=tmp_path, previous=previous,
        )  # fmt: skip
        return put_snapshot(
            workspace, InProcessRunner(), crawled, *about,
            version=version, previous=previous, max_vanished=1.0,
        )  # fmt: skip

    first = made(former, "1", 0, None)
    second, fresh = made(later, "2", 1, first), made(later, "fresh", 1, None)
    ids = [made.json(MANIFEST)["snapshot_id"] for made in (first, second, fresh)]
    assert ids[1] == ids[2] != ids[0]
    assert Snapshot.of(second).since("hr").settings == later.source_id
    same = made(former, "3", 1, first)
    assert same.json(MANIFEST)["snapshot_id"] == ids[0]
