"""Crawl, snapshot and diff over real HTTP, on the recordings of the demo."""

import json
from collections import Counter
from datetime import date

import pytest
from discovery_helpers import EXAMPLES, make_crawl, put_snapshot

from discovery.crawl import stage as crawl_stage
from discovery.crawl.output import OBSERVATIONS, SKIPS, VOLATILE
from discovery.crawl.stage import CrawlInputs, crawl, local_inputs
from discovery.diff.output import CHANGES
from discovery.diff.stage import DiffInputs, diff
from discovery.facts.change import Change
from discovery.facts.fact import Fact
from discovery.facts.tables import from_table
from discovery.relations.relation import load_relations
from discovery.snapshot.output import MANIFEST, Snapshot, bucket_file
from discovery.sources.rdf.files import RdfConfig
from discovery.sources.replay.server import ReplayServer
from discovery.sources.tabular.table import TableConfig
from discovery.sources.wikibase.config import WikidataConfig
from discovery.sources.wikibase.dump import DumpConfig
from infra.errors import SourceError, StageError
from pipeline.stages import Stages

OLD, NEW = date(2016, 8, 31), date(2023, 6, 30)
WIKIDATA = WikidataConfig(
    name="wikidata",
    endpoint="replay:recordings/wikidata",
    entities=("Q42", "Q2112", "Q571"),
    contact="ops@example.org",
)
TABLE = TableConfig(name="templama", path="data/templama_dated_facts.jsonl")
SOURCES = (WIKIDATA, TABLE)


def run_crawl(workspace, runner, as_of=OLD, sources=SOURCES, version=None, base_dir=EXAMPLES):
    version = version or str(as_of)
    return make_crawl(workspace, runner, sources, as_of, version=version, base_dir=base_dir)


def run_snapshot(workspace, runner, as_of=OLD, sources=SOURCES, **options):
    observations = run_crawl(workspace, runner, as_of, sources, **options)
    version = options.get("version") or str(as_of)
    return put_snapshot(workspace, runner, observations, sources, as_of, version=version)


def run_diff(workspace, runner, old, new):
    return Stages(workspace=workspace, runner=runner).make(
        diff,
        "1",
        DiffInputs(old=old and Snapshot.of(old), new=Snapshot.of(new), relations=load_relations()),
    )


@pytest.mark.parametrize(
    ("as_of", "revisions"),
    [
        (OLD, {"Q42": 196015688, "Q2112": 363579534, "Q571": 188258897}),
        (NEW, {"Q42": 716282445, "Q2112": 1867923350, "Q571": 422538507}),
    ],
)
def test_crawl_takes_the_revision_of_the_day(workspace, runner, as_of, revisions):
    """Each entity is observed at its last revision of that day, with provenance."""
    made = run_crawl(workspace, runner, as_of, (WIKIDATA,))
    rows = made.table(OBSERVATIONS).to_pylist()
    assert {row["about"]: row["revision"] for row in rows if row["kind"] == "entity"} == revisions
    assert all(row["url"].startswith("replay:recordings/wikidata/") for row in rows)
    assert made.counts["skipped"] == {}


def test_a_second_crawl_is_the_same_output(workspace, runner):
    """Another hour, another port and a filled cache give the same digest."""
    first = run_crawl(workspace, runner, version="a")
    second = run_crawl(workspace, runner, version="b")
    assert first.digest == second.digest


def test_an_entity_without_a_revision_is_counted(workspace, runner):
    """Before its first revision, or unheard of, an entity is a skip with a reason; the crawl goes
    on.
    """
    sources = (WIKIDATA.model_copy(update={"entities": ("Q42", "Q571", "Q999")}),)
    made = run_crawl(workspace, runner, date(2015, 2, 1), sources)
    assert made.counts["skipped"] == {"no revision at that date": 1, "no such entity": 1}
    samples = {row["reason"]: row["sample"] for row in made.table(SKIPS).to_pylist()}
    assert samples == {"no revision at that date": "Q42", "no such entity": "Q999"}
    counts = run_snapshot(workspace, runner, date(2015, 2, 1), sources).counts
    assert counts["facts"] == 19


def test_an_interrupted_crawl_continues(workspace, runner, monkeypatch):
    """After a failure in the second source, the first is not fetched again, and the result is as if
    nothing had happened."""
    whole = run_crawl(workspace, runner, version="whole")
    broken = TABLE.model_copy(update={"path": "data/absent.jsonl"})
    servers = []

    def counted(directory):
        servers.append(ReplayServer(directory))
        return servers[-1]

    monkeypatch.setattr(crawl_stage, "ReplayServer", counted)

    def run(sources):
        inputs = CrawlInputs(
            sources=sources, as_of=OLD, base_dir=EXAMPLES, cache=workspace.root / "other"
        )
        return workspace.run_stage(
            "crawl",
            "broken",
            code=1,
            made_from={},
            volatile=VOLATILE,
            body=lambda out: crawl(inputs, out, runner),
        )

    with pytest.raises(SourceError, match=r"cannot read .*absent\.jsonl"):
        run((WIKIDATA, broken))
    assert run(SOURCES).digest == whole.digest
    assert [bool(server.requests) for server in servers] == [True, False]


def test_malformed_payloads_stop_the_crawl_in_one_line(workspace, runner, monkeypatch):
    """HTML instead of JSON at every try is the source's failure: one line, nothing half-written,
    and the next run works.
    """

    def faulty(directory):
        server = ReplayServer(directory)
        server.fail(3, headers={"Content-Type": "text/html"}, body=b"<html>Sorry!")
        return server

    with monkeypatch.context() as patch:
        patch.setattr(crawl_stage, "ReplayServer", faulty)
        with pytest.raises(SourceError, match="text/html instead of JSON") as caught:
            run_crawl(workspace, runner)
    assert "\n" not in str(caught.value)
    assert workspace.find("crawl", str(OLD)) is None
    assert run_crawl(workspace, runner).counts["observations"] == 6


def test_snapshots_do_not_depend_on_order(workspace, runner):
    """Sources given in another order, and rows of a table shuffled, give the same facts."""
    first = run_snapshot(workspace, runner, version="a")
    second = run_snapshot(workspace, runner, sources=SOURCES[::-1], version="b")
    for bucket in range(first.json(MANIFEST)["num_buckets"]):
        name = bucket_file("facts", bucket)
        assert first.table(name) == second.table(name)
    assert first.json(MANIFEST)["rows"] == second.json(MANIFEST)["rows"]


def test_snapshot_is_sorted_and_whole(workspace, runner):
    """Rows are sorted by subject, relation, statement; the manifest counts them; ids name the
    content.
    """
    made = run_snapshot(workspace, runner, sources=(WIKIDATA,))
    manifest = made.json(MANIFEST)
    facts = []
    for bucket in range(manifest["num_buckets"]):
        found = from_table(made.table(bucket_file("facts", bucket)), Fact)
        keys = [(f.subject, f.relation, f.statement_id) for f in found]
        assert keys == sorted(set(keys))
        facts += found
    assert len(facts) == manifest["rows"]["facts"] == made.counts["facts"]
    assert manifest["as_of"] == "2016-08-31"
    again = run_snapshot(workspace, runner, sources=(WIKIDATA,), version="again")
    assert again.json(MANIFEST)["snapshot_id"] == manifest["snapshot_id"]


def test_diff_of_the_demo(workspace, runner):
    """The two days of the demo: club and employer of a person succeed each other by rule 11,
    Bielefeld's population is renewed, and everything is named and explained.
    """
    old, new = run_snapshot(workspace, runner, OLD), run_snapshot(workspace, runner, NEW)
    made = run_diff(workspace, runner, old, new)
    changes = from_table(made.table(CHANGES), Change)
    table = Counter((c.relation, c.kind, c.rule) for c in changes if c.source == "templama")
    assert table["P54", "replace", "11"] == 275 and table["P108", "replace", "11"] == 259
    assert not any(
        c.kind in ("conflict", "forget", "vacated") for c in changes if c.source == "templama"
    )
    (brady,) = [c for c in changes if c.subject == "Q313381" and c.relation == "P54"]
    assert (brady.kind, brady.subject_label) == ("learn", "Tom Brady")
    assert (brady.old_labels, brady.new_label) == (
        ("New England Patriots",),
        "Tampa Bay Buccaneers",
    )
    (people,) = [c for c in changes if c.subject == "Q2112" and c.relation == "P1082"]
    assert (people.kind, people.rule, people.old_labels, people.new_label) == (
        "replace", "11", ("329327",), "334002",
    )  # fmt: skip
    assert (people.revision_old, people.revision_new) == (363579534, 1867923350)
    assert made.counts["kinds"] == dict(Counter(c.kind for c in changes))
    assert len({c.id for c in changes}) == len(changes) and all(c.reason for c in changes)


def test_diff_of_a_snapshot_with_itself(workspace, runner):
    """Nothing changed, so only keep and ignored come out."""
    new = run_snapshot(workspace, runner, NEW, (WIKIDATA,))
    assert set(run_diff(workspace, runner, new, new).counts["kinds"]) <= {"keep", "ignored"}


def test_diff_refuses_snapshots_in_the_wrong_order(workspace, runner):
    """Time does not run backwards."""
    sources = (TABLE,)
    old = run_snapshot(workspace, runner, OLD, sources)
    new = run_snapshot(workspace, runner, NEW, sources)
    with pytest.raises(StageError, match="Swap them"):
        run_diff(workspace, runner, new, old)


def test_local_inputs_follow_the_content(tmp_path):
    """The fingerprint of a crawl changes when, and only when, a local file does."""
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"subject": "a"}))
    config = TableConfig(name="t", path="t.jsonl")
    first = local_inputs((config,), tmp_path)
    assert local_inputs((config,), tmp_path) == first
    path.write_text(json.dumps({"subject": "b"}))
    assert local_inputs((config,), tmp_path) != first
    assert set(local_inputs(SOURCES, EXAMPLES)) == {"wikidata", "templama"}
    with pytest.raises(SourceError, match="cannot read"):
        local_inputs((config,), tmp_path / "absent")


@pytest.mark.parametrize(
    "config",
    [
        TableConfig(name="own", path="own.parquet"),
        TableConfig(name="own", path="own.csv"),
        DumpConfig(name="own", path="own.json"),
        RdfConfig(name="own", path="own.nt"),
    ],
    ids=lambda config: config.path,
)
def test_a_local_file_is_known_by_its_bytes(config, tmp_path):
    """Of every kind of source, also a file that no reader can read; a directory, or a file that
    has gone, is one line with its name."""
    path = tmp_path / config.path
    found = set()
    for content in (b"", b"PAR1", b"PAR1\0"):
        path.write_bytes(content)
        found.add(local_inputs((config,), tmp_path)["own"])
    assert len(found) == 3
    path.unlink()
    with pytest.raises(SourceError, match=f"cannot read .*{config.path}"):
        local_inputs((config,), tmp_path)
    path.mkdir()
    with pytest.raises(SourceError, match=f"{config.path} is a directory"):
        local_inputs((config,), tmp_path)
