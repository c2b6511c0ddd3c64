"""What is read by its path is a regular file; a pipe or a device is refused in one line, at once,
wherever a config or a command names one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from discovery.crawl.access import Access
from discovery.crawl.sample import sample_source
from discovery.crawl.stage import local_inputs
from discovery.relations.relation import load_relations
from discovery.sources.rdf.files import RdfConfig
from discovery.sources.replay.recording import Recording
from discovery.sources.tabular.sql_config import SqlConfig
from discovery.sources.tabular.table import TableConfig
from discovery.sources.wikibase.config import DumpConfig
from infra.errors import CorrigendaError
from infra.http.limits.rate_limit import LocalRateLimit

DAY = date(2024, 6, 30)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sampled(config: Any) -> Callable[[Path], Any]:
    """As `corrigenda check` reads it."""
    return lambda folder: sample_source(
        config, DAY, Access(LocalRateLimit(), {}, folder / "cache", folder)
    )


def hashed(config: Any) -> Callable[[Path], Any]:
    """As a run looks for what has changed."""
    return lambda folder: local_inputs([config], folder)


TABLES = [TableConfig(name="t", path=f"f.{kind}") for kind in ("csv", "jsonl", "parquet")]
DUMP, RDF = DumpConfig(name="d", path="f.json"), RdfConfig(name="r", path="f.nt")
QUERY = "SELECT 1 AS id, 'a' AS subject, 'P1' AS relation, 'b' AS object"
SQL = [
    SqlConfig(name="q", connect=f"{kind}:f.db", query=QUERY, key="id")
    for kind in ("sqlite", "duckdb")
]
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    **{f"{c.path}, checked": (c.path, sampled(c)) for c in (*TABLES, DUMP, RDF)},
    **{f"{c.path}, run": (c.path, hashed(c)) for c in (*TABLES, DUMP, RDF)},
    **{f"{c.connect}": ("f.db", sampled(c)) for c in SQL},
    "relations": ("f.json", lambda folder: load_relations(folder / "f.json")),
    "a recording": ("index.json", Recording),
}


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A hang is an error after 10 s."""

    def stop(*_: object) -> None:
        raise TimeoutError("this hangs")

    known = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, known)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", [pipe, device])
def test_what_is_no_regular_file_is_not_read(
    reader: str, kind: Callable[[Path], None], tmp_path: Path
) -> None:
    """One line that says what it is, in place of waiting for ever or filling the memory."""
    name, read = READERS[reader]
    kind(tmp_path / name)
    with pytest.raises(CorrigendaError, match=f"is a {kind.__name__}") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
