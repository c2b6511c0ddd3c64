"""The sample of a source: a bounded part of it, read as a crawl reads it."""

from __future__ import annotations

import csv
import json
import sqlite3
from datetime import date
from pathlib import Path

import pytest

from discovery.crawl.access import Access
from discovery.crawl.sample import Sampled, sample_source
from discovery.sources import SourceConfig
from discovery.sources.tabular.row_reader import SAMPLE_ROWS
from discovery.sources.tabular.sql_config import SqlConfig
from discovery.sources.tabular.table import TableConfig
from discovery.sources.wikibase import dump
from discovery.sources.wikibase.dump import DumpConfig
from infra.errors import ConfigError
from infra.http.limits.rate_limit import LocalRateLimit

TODAY = date(2024, 6, 30)


def sampled(config: SourceConfig, folder: Path) -> Sampled:
    return sample_source(config, TODAY, Access(LocalRateLimit(), {}, folder / "cache", folder))


def write_table(path: Path, num_rows: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "relation", "object"])
        writer.writerows([f"Ada {n}", "P108", "Contoso"] for n in range(num_rows))


@pytest.mark.parametrize(
    ("num_rows", "read"), [(3, 3), (SAMPLE_ROWS, SAMPLE_ROWS), (SAMPLE_ROWS + 1, SAMPLE_ROWS)]
)
def test_a_table_is_read_up_to_a_bound(num_rows: int, read: int, tmp_path: Path) -> None:
    """Its first rows; it is whole where there are no more."""
    write_table(tmp_path / "people.csv", num_rows)
    sample = sampled(TableConfig(name="people", path="people.csv"), tmp_path).sample
    assert (sample.number, len(sample.parsed.facts)) == (read, read)
    assert sample.whole == (num_rows == read)


def test_a_column_of_later_rows_is_no_error(tmp_path: Path) -> None:
    """JSON rows may lack a configured column as long as some row of the file has it."""
    path = tmp_path / "people.jsonl"
    row = {"subject": "Ada", "relation": "P108", "object": "Contoso"}
    rows = [row] * (SAMPLE_ROWS + 1) + [{**row, "left": "2020"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = TableConfig(name="people", path=path.name, columns={"end": "left"})
    assert not sampled(config, tmp_path).sample.whole
    with pytest.raises(ConfigError, match="no column 'gone' for end"):
        sampled(config.model_copy(update={"columns": {"end": "gone"}}), tmp_path)


def test_a_query_is_read_for_one_page(tmp_path: Path) -> None:
    """Whatever the number of rows, also with a cursor column, whose first partition is empty."""
    with sqlite3.connect(tmp_path / "people.db") as opened:
        opened.execute("CREATE TABLE jobs (id, subject, relation, object)")
        rows = [(n, f"Ada {n}", "P108", "Contoso") for n in range(100)]
        opened.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?)", rows)
    opened.close()
    for cursor in (None, "id"):
        config = SqlConfig(
            name="jobs",
            connect=f"sqlite:{tmp_path / 'people.db'}",
            query="SELECT * FROM jobs",
            key="id",
            cursor=cursor,
            page_rows=10,
        )
        sample = sampled(config, tmp_path).sample
        assert (sample.number, len(sample.parsed.facts), sample.whole) == (10, 10, False)


def test_a_dump_is_read_for_one_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the file is; that it is cut at its end, a sample does not see, nor call it."""
    monkeypatch.setattr(dump, "BLOCK_BYTES", 1000)
    line = json.dumps({"type": "item", "id": "Q1", "claims": {}, "labels": {}})
    (tmp_path / "d.json").write_text("[\n" + ",\n".join([line] * 5000))
    sample = sampled(DumpConfig(name="d", path="d.json"), tmp_path).sample
    assert 0 < sample.number < 5000 and not sample.whole
    assert sample.parsed.skips == ()
