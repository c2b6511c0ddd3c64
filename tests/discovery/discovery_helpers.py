"""Facts and changes in one line, for the discovery tests."""

from operator import attrgetter
from pathlib import Path

import pyarrow.parquet as pq

from discovery.crawl.output import VOLATILE
from discovery.crawl.stage import CrawlInputs, crawl, local_inputs
from discovery.diff.stage import DiffInputs, diff
from discovery.facts.change import Change
from discovery.facts.dates import iso_interval
from discovery.facts.fact import ENTITY_SCHEMA, FACT_SCHEMA, Fact
from discovery.facts.hashing import bucket_of, hash_of
from discovery.facts.tables import from_table, to_table
from discovery.relations.relation import load_relations
from discovery.snapshot.buckets import write_bucket
from discovery.snapshot.group_digests import groups_of
from discovery.snapshot.output import MANIFEST, Snapshot
from discovery.snapshot.stage import SnapshotInputs, snapshot
from infra.execution.runner import InProcessRunner
from infra.files.atomic import write_json
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir
from pipeline.stages import Stages

EXAMPLES = Path(__file__).parents[2] / "examples"


def make_fact(value, statement_id=None, subject="Q1", relation="P6", **more):
    """A fact with dates given as ISO text."""
    dates = {
        name: iso_interval(more.pop(name)) for name in ("start", "end", "point") if more.get(name)
    }
    fields = {"value_type": "entity", "source": "wd", **more, **dates}
    return Fact(
        statement_id=statement_id or f"{subject}${value}",
        subject=subject,
        relation=relation,
        value=value,
        **fields,
    )


def stated(facts):
    """The facts whose value could be read."""
    return [fact for fact in facts if fact.snaktype != "unreadable"]


def make_change(**settings):
    """That Ann plays for another club."""
    fields = {
        "id": "00000000000000ab",
        "kind": "replace",
        "rule": "11",
        "reason": "",
        "subject": "Q1",
        "subject_label": "Ann",
        "relation": "P54",
        "value_type": "entity",
        "old_values": ("Q2",),
        "old_labels": ("Old Club",),
        "new_value": "Q3",
        "new_label": "New Club",
        "source": "test",
    }
    return Change(**{**fields, **settings})


NUM_BUCKETS = 4


def make_snapshot(root, facts, entities=(), day="2023-06-30"):
    """The files of a snapshot that a diff reads."""

    def of(bucket, rows, key):
        return [row for row in rows if bucket_of(hash_of(getattr(row, key)), NUM_BUCKETS) == bucket]

    order = attrgetter("subject", "relation", "statement_id", "source")
    for bucket in range(NUM_BUCKETS):
        table = to_table(sorted(of(bucket, facts, "subject"), key=order), FACT_SCHEMA)
        write_bucket(root, "facts", bucket, table)
        write_bucket(root, "groups", bucket, groups_of(table))
        named = to_table(of(bucket, entities, "id"), ENTITY_SCHEMA)
        write_bucket(root, "entities", bucket, named)
    manifest = {"as_of": day, "num_buckets": NUM_BUCKETS, "sources": [], "snapshot_id": day}
    write_json(root / MANIFEST, manifest)
    return Snapshot.of(Artifact(root, {"digest": day}))


def make_crawl(workspace, runner, sources, as_of, *, version, base_dir, cache=None, previous=None):
    """The output of the crawl stage; `previous` is the output of a snapshot to go on from."""
    inputs = CrawlInputs(
        sources=sources,
        as_of=as_of,
        previous=previous and Snapshot.of(previous),
        files=local_inputs(sources, base_dir),
        base_dir=base_dir,
        cache=cache or workspace.root / "http",
    )
    return Stages(workspace=workspace, runner=runner).make(
        crawl, version, inputs, volatile=VOLATILE
    )


def put_snapshot(workspace, runner, crawled, sources, as_of, *, version, previous=None, **options):
    """The output of the snapshot stage, of a crawl's."""
    inputs = SnapshotInputs(
        crawl=crawled,
        sources=sources,
        as_of=as_of,
        previous=previous and Snapshot.of(previous),
        **options,
    )
    return Stages(workspace=workspace, runner=runner).make(snapshot, version, inputs)


def diff_of(root, old, new, **options):
    """The changes that the stage writes between two snapshots' files."""
    out = StageDir(root / "diff")
    out.path.mkdir()
    inputs = DiffInputs(old=old, new=new, relations=load_relations(), **options)
    diff(inputs, out, InProcessRunner())
    return from_table(pq.read_table(out.path / "changes.parquet"), Change)
