"""Facts and changes in one line, for the discovery tests."""

from operator import attrgetter
from pathlib import Path

import pyarrow.parquet as pq

from discovery.diff.stage import diff
from discovery.facts.change import Change
from discovery.facts.dates import iso_interval
from discovery.facts.fact import ENTITY_SCHEMA, FACT_SCHEMA, Fact
from discovery.facts.hashing import bucket_of, hash_of
from discovery.facts.tables import from_table, to_table
from discovery.relations.relation import load_relations
from discovery.snapshot.buckets import write_bucket
from discovery.snapshot.group_digests import groups_of
from discovery.snapshot.output import MANIFEST
from infra.execution.runner import InProcessRunner
from infra.files.atomic import write_json
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import StageDir

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
    write_json(root / MANIFEST, {"as_of": day, "num_buckets": NUM_BUCKETS})
    return Artifact(root, {})


def diff_of(root, old, new, **options):
    """The changes that the stage writes between two snapshots' files."""
    out = StageDir(root / "diff")
    out.path.mkdir()
    diff(old, new, load_relations(), out=out, runner=InProcessRunner(), **options)
    return from_table(pq.read_table(out.path / "changes.parquet"), Change)
