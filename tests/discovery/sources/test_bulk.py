"""Bulk sources in the stages: crawled, put into snapshots, interrupted and gone on with."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from discovery_helpers import make_crawl, put_snapshot
from dump_helpers import dump_of, line_of, recorded_entities, spread, write
from rdf_writer import Writer

from discovery.crawl import bulk
from discovery.crawl.bulk import PARSED
from discovery.crawl.output import SKIPS
from discovery.crawl.parsed import read_parsed
from discovery.facts.fact import Entity, Fact
from discovery.facts.tables import from_table
from discovery.snapshot.output import MANIFEST, bucket_file
from discovery.sources.rdf.files import RdfConfig
from discovery.sources.tabular.table import TableConfig
from discovery.sources.wikibase.config import DumpConfig
from discovery.sources.wikibase.entities import parse_entity
from infra.errors import SourceError
from infra.execution.runner import InProcessRunner, Runner
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace

DAY = date(2024, 1, 1)
DUMP = DumpConfig(name="dump", path="d.json.gz", relations=("P31", "P69", "P1082"))


def edition(
    workspace: Workspace,
    base_dir: Path,
    runner: Runner,
    sources: Any = (DUMP,),
    version: str = "1",
    previous: Artifact | None = None,
    day: date = DAY,
) -> tuple[Artifact, Artifact]:
    """The crawl and its snapshot."""
    on = {"version": version, "previous": previous}
    crawled = make_crawl(workspace, runner, sources, day, base_dir=base_dir, **on)
    made = put_snapshot(workspace, runner, crawled, sources, day, **on)
    return crawled, made


def rows(made: Artifact, kind: str, cls: type[Any]) -> list[Any]:
    buckets = range(made.json(MANIFEST)["num_buckets"])
    return [row for n in buckets for row in from_table(made.table(bucket_file(kind, n)), cls)]


@pytest.fixture()
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small dump has many."""
    cut_small(monkeypatch)


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.files.decompress.PIECE_BYTES", 1 << 13)
    monkeypatch.setattr("discovery.sources.wikibase.dump.BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(bulk, "BLOCKS_PER_SHARD", 2)
    monkeypatch.setattr(bulk, "SHARDS_PER_FILE", 3)


def test_a_dump_becomes_a_snapshot(workspace: Workspace, runner: Runner, tmp_path: Path) -> None:
    """Its facts are those of its entities, its entities those that facts speak of, and what was not
    used is counted by the crawl, once."""
    entities = [{**e, "modified": "2023-01-01T00:00:00Z"} for e in recorded_entities()]
    lines = [line_of({"type": "item", **e}) for e in entities if e["id"] in ("Q217447", "Q582")]
    late = line_of({**spread(1)[0], "modified": "2024-01-02T00:00:00Z"})
    write(tmp_path / "d.json.gz", dump_of(*lines, b"<html>", late))
    dump = DUMP.model_copy(update={"relations": None})
    crawled, made = edition(workspace, tmp_path, runner, (dump,))
    expected = [
        fact
        for entity in entities
        if entity["id"] in ("Q217447", "Q582")
        for fact in parse_entity(entity, "dump").facts
    ]
    key = lambda fact: (fact.subject, fact.relation, fact.statement_id)  # noqa: E731
    found = [fact for fact in rows(made, "facts", Fact) if fact.snaktype != "unreadable"]
    assert sorted(found, key=key) == sorted(expected, key=key)
    assert {entity.id for entity in rows(made, "entities", Entity)} == {"Q217447", "Q582", "Q1"}
    assert crawled.counts["lines"] == 6 and crawled.counts["observations"] == 0
    counted = {
        row["reason"].split(":")[0]: row["count"] for row in crawled.table(SKIPS).to_pylist()
    }
    assert counted == {"line is not JSON": 1, "modified after the day that is wanted": 1}
    assert made.counts["skipped"] == {}


@pytest.mark.parametrize(
    "content",
    [
        b'{"head": {"vars": ["item"]}, "results": {"bindings": [{"item": {"value": "x"}}]}}',
        b'{"subject": "Ada", "relation": "P108", "object": "Navy"}\n' * 3,
        b'{"meta": {"domain": "www.wikidata.org"}, "item": "Q1", "revision": 5}\n' * 3,
    ],
    ids=["SPARQL results", "table", "events"],
)
def test_a_file_of_another_kind_is_no_empty_dump(
    workspace: Workspace, runner: Runner, tmp_path: Path, content: bytes
) -> None:
    """JSON that holds no entity ends the crawl, in one line that shows what was found."""
    (tmp_path / "d.json").write_bytes(content)
    config = DumpConfig(name="d", path="d.json")
    with pytest.raises(SourceError, match="nothing in it can be read: line is no entity") as caught:
        edition(workspace, tmp_path, runner, (config,))
    assert "\n" not in str(caught.value)


def test_objects_are_named(workspace: Workspace, runner: Runner, tmp_path: Path) -> None:
    """Entities without a wanted fact are in the snapshot as far as a fact speaks of them."""
    write(tmp_path / "d.json.gz", dump_of(*map(line_of, spread(30))))
    _, made = edition(workspace, tmp_path, runner)
    facts, entities = rows(made, "facts", Fact), rows(made, "entities", Entity)
    spoken = {fact.subject for fact in facts} | {fact.value for fact in facts if fact.value}
    assert {entity.id for entity in entities} == spoken
    assert {entity.label for entity in entities} == {f"thing {key[1:]}" for key in spoken}
    readable = [fact for fact in facts if fact.snaktype == "value"]
    assert len(readable) == len([n for n in range(1, 31) if n % 3 and n % 7])
    _, fewer = edition(
        workspace, tmp_path, runner, (DUMP.model_copy(update={"names": "facts"}),), version="2"
    )
    with_facts = [fact for fact in facts if int(fact.subject[1:]) % 3]
    assert rows(fewer, "facts", Fact) == with_facts
    assert {e.id for e in rows(fewer, "entities", Entity)} == {fact.subject for fact in with_facts}


def test_an_entity_that_is_there_twice(
    workspace: Workspace, runner: Runner, tmp_path: Path, small_blocks: None
) -> None:
    """The later revision is all there is of it, wherever in the dump it stands, also where it has
    lost a statement."""
    things = spread(60)
    (statement,) = things[0]["claims"]["P31"]
    both = {"P31": [statement, {**statement, "id": "Q1$2"}]}
    older = {**things[0], "lastrevid": 5, "claims": both, "labels": {"en": {"value": "old"}}}
    newer = {**things[0], "lastrevid": 9}
    made = []
    for version, order in (("1", (older, newer)), ("2", (newer, older))):
        lines = [line_of(entity) for entity in (order[0], *things[1:], order[1])]
        write(tmp_path / "d.json.gz", dump_of(*lines))
        made.append(edition(workspace, tmp_path, runner, version=version)[1])
        found = [fact for fact in rows(made[-1], "facts", Fact) if fact.subject == "Q1"]
        assert [(fact.statement_id, fact.revision) for fact in found] == [("Q1$1", 9)]
        (named,) = [e for e in rows(made[-1], "entities", Entity) if e.id == "Q1"]
        assert (named.label, named.revision) == ("thing 1", 9)
    assert made[0].json(MANIFEST)["snapshot_id"] == made[1].json(MANIFEST)["snapshot_id"]


def test_another_dump_takes_the_place_of_the_last(
    workspace: Workspace, runner: Runner, tmp_path: Path
) -> None:
    """A snapshot on top of another one holds nothing of the earlier dump, and all of a source
    beside it."""
    (tmp_path / "t.jsonl").write_text(json.dumps({"subject": "a", "relation": "b", "object": "c"}))
    sources = (DUMP, TableConfig(name="table", path="t.jsonl"))
    things = spread(40)
    write(tmp_path / "d.json.gz", dump_of(*map(line_of, things)))
    _, first = edition(workspace, tmp_path, runner, sources)
    write(tmp_path / "d.json.gz", dump_of(*map(line_of, things[15:])))
    _, second = edition(workspace, tmp_path, runner, sources, "2", previous=first)
    _, alone = edition(workspace, tmp_path, runner, sources, "3")
    assert second.json(MANIFEST)["snapshot_id"] == alone.json(MANIFEST)["snapshot_id"]
    assert {fact.source for fact in rows(second, "facts", Fact)} == {"dump", "table"}
    assert len(rows(second, "facts", Fact)) < len(rows(first, "facts", Fact))


def test_blocks_do_not_matter(
    workspace: Workspace, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut into one block or many, merged into one file or many, the snapshot is the same, and its
    parsed files lie in the order of their hashes."""
    write(tmp_path / "d.json.gz", dump_of(*map(line_of, spread(150))))
    _, whole = edition(workspace, tmp_path, runner)
    cut_small(monkeypatch)
    crawled, cut = edition(workspace, tmp_path, runner, version="2")
    files = sorted((crawled.path / PARSED).iterdir())
    assert len(files) > 3
    assert cut.json(MANIFEST)["snapshot_id"] == whole.json(MANIFEST)["snapshot_id"]
    for file in files:
        for kind in ("fact", "entity"):
            table, hashes = read_parsed([file], kind)
            assert table.num_rows and list(hashes) == sorted(hashes)


def test_an_interrupted_read_goes_on(
    workspace: Workspace, runner: Runner, tmp_path: Path, small_blocks: None
) -> None:
    """Blocks that were read before a failure are not read again, and the result is as if nothing
    had happened."""
    write(tmp_path / "d.json.gz", dump_of(*map(line_of, spread(150))))
    whole, _ = edition(workspace, tmp_path, runner, version="whole")
    read: list[int] = []

    class Failing(InProcessRunner):
        fail_at = 4

        def map(self, make_worker: Any, shards: Any, *, resources: Any) -> Any:
            for n, result in enumerate(super().map(make_worker, shards, resources=resources)):
                read.append(n)
                if len(read) == self.fail_at:
                    raise SourceError("the power fails")
                yield result

    failing = Failing()
    with pytest.raises(SourceError, match="the power fails"):
        edition(workspace, tmp_path, failing, version="cut")
    assert len(read) == 4
    again, _ = edition(workspace, tmp_path, failing, version="cut")
    assert again.digest == whole.digest
    assert again.counts == whole.counts


def test_rdf_in_a_snapshot(workspace: Workspace, runner: Runner, tmp_path: Path) -> None:
    """The RDF of a dump's items makes a snapshot of the same facts and names as the dump."""
    entities = [e for e in recorded_entities() if e["id"] in ("Q217447", "Q582")]
    write(tmp_path / "d.json.gz", dump_of(*(line_of({"type": "item", **e}) for e in entities)))
    writer = Writer()
    for entity in entities:
        writer.entity(entity)
    (tmp_path / "d.nt").write_bytes(writer.text())
    relations = ("P31", "P17", "P50", "P577", "P1476", "P407")
    day = DumpConfig(name="wd", path="d.json.gz", relations=relations)
    rdf = RdfConfig(name="wd", path="d.nt", relations=relations, wikibase=True)
    late = date(2030, 1, 1)
    made = [
        edition(workspace, tmp_path, runner, (config,), str(n), day=late)[1]
        for n, config in enumerate((day, rdf))
    ]
    assert rows(made[0], "facts", Fact) == rows(made[1], "facts", Fact) != []
    assert rows(made[0], "entities", Entity) == rows(made[1], "entities", Entity)
