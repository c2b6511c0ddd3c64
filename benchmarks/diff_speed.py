"""How fast two snapshots are compared: by the diff stage, and by the rules alone.

    PYTHONPATH=. python -m benchmarks.diff_speed --facts 1000000 --changed 0.01

The facts are those of the demo's sources as of 2023-06-30, again and again with other ids, in as
many buckets as keep one at about 60,000 facts. The later snapshot has another object in a share of
its groups. The window is one month. `rules alone` judges every group of one bucket with the
functions that the stage uses for those that may have changed. One process, one thread.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.common.hardware import commit, machine
from discovery.crawl.stage import CrawlInputs, crawl
from discovery.diff.compare import diff_facts
from discovery.diff.stage import DiffInputs, diff
from discovery.facts.dates import days
from discovery.facts.fact import ENTITY_SCHEMA, FACT_SCHEMA, Fact
from discovery.facts.tables import from_table
from discovery.relations.relation import functional_of, load_relations
from discovery.snapshot.buckets import write_bucket
from discovery.snapshot.group_digests import groups_of
from discovery.snapshot.output import Snapshot, bucket_file
from discovery.snapshot.stage import SnapshotInputs, snapshot
from infra.execution.runner import InProcessRunner
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace
from pipeline.config import load_config
from pipeline.stages import Stages

OLD, NEW = date(2023, 5, 31), date(2023, 6, 30)
"""Days of the two snapshots."""
BUCKET_ROWS = 60_000
"""About how many facts a bucket holds."""
DEMO = Path("examples/demo.toml")
"""Config of the demo, relative to the repository."""


def main() -> None:
    """Print a table with one line for each number of facts and share of changed groups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--changed", type=float, nargs="+", default=[0.01])
    given = parser.parse_args()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    print(f"{machine()}, commit {commit()}\n")
    heads = "facts", "buckets", "changed", "seconds", "facts/s", "changes", "peak MB"
    print("| " + " | ".join((*heads, "rules alone, facts/s", "ratio")) + " |")
    print("|" + "---|" * (len(heads) + 2))
    with tempfile.TemporaryDirectory() as directory:
        real = real_facts(Path(directory))
        for number in given.facts:
            for share in given.changed:
                row(Path(directory), real, number, share)


def row(directory: Path, real: pa.Table, number: int, share: float) -> None:
    """Measure two snapshots of `number` facts that differ in a share of them, and print one line of
    the table."""
    num_buckets = max(1, round(number / BUCKET_ROWS))
    old = made(directory / "old", real, number, num_buckets, OLD, 0.0)
    new = made(directory / "new", real, number, num_buckets, NEW, share)
    out = StageDir(directory / f"diff-{number}-{share}")
    out.path.mkdir()
    started = time.perf_counter()
    inputs = DiffInputs(old=old, new=new, relations=load_relations())
    counts = diff(inputs, out, InProcessRunner())
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pace, alone = number / seconds, rules_alone(old, new)
    cells = f"{number:,}", num_buckets, f"{share:.1%}", f"{seconds:.1f}", f"{pace:,.0f}"
    rest = f"{counts['changes']:,}", f"{peak:,.0f}", f"{alone:,.0f}", f"{pace / alone:.1f}"
    print("| " + " | ".join(map(str, (*cells, *rest))) + " |", flush=True)


def rules_alone(old: Snapshot, new: Snapshot) -> float:
    """Facts judged in a second, where the rules judge every group of the first bucket. Building
    `Fact` objects is included."""
    functional = functional_of(load_relations())
    started = time.perf_counter()
    before, after = (
        from_table(pq.read_table(a.path / bucket_file("facts", 0)), Fact) for a in (old, new)
    )
    diff_facts(before, after, old_day=days(OLD), new_day=days(NEW), functional=functional)
    return len(after) / (time.perf_counter() - started)


def real_facts(directory: Path) -> pa.Table:
    """The facts of the demo's sources at the end of `NEW`, rows of `FACT_SCHEMA`.

    directory  where the crawl and the snapshot are written
    """
    config = load_config(DEMO)
    place, runner = Workspace(directory / "real"), InProcessRunner()
    sources, base = config.sources, DEMO.parent.absolute()
    stages = Stages(workspace=place, runner=runner)
    crawled = stages.make(
        crawl,
        "1",
        CrawlInputs(sources=sources, as_of=NEW, base_dir=base, cache=directory / "http"),
    )
    seen = stages.make(snapshot, "1", SnapshotInputs(crawl=crawled, sources=sources, as_of=NEW))
    return pa.concat_tables(
        [pq.read_table(path) for path in sorted((seen.path / "facts").glob("*.parquet"))]
    ).combine_chunks()


def made(
    directory: Path, real: pa.Table, number: int, num_buckets: int, day: date, share: float
) -> Snapshot:
    """Write a snapshot with copies of real facts under new ids.

    real    the facts to copy
    number  number of facts in the snapshot
    day     day of the snapshot
    share   share of the facts that get another value and another statement id
    """
    rows = -(-number // num_buckets)
    for bucket in range(num_buckets):
        copies = -(-rows // real.num_rows)
        table = pa.concat_tables([real] * copies).slice(0, rows).combine_chunks()
        copy = np.repeat(np.arange(copies), real.num_rows)[:rows]
        suffix = pa.array(np.char.add(f"x{bucket}x", copy.astype(str)))
        for name in ("subject", "statement_id"):
            column = pc.binary_join_element_wise(table[name].combine_chunks(), suffix, "")
            table = put(table, name, column)
        moved = pa.array(np.random.default_rng(bucket).random(rows) < share)
        for name in ("value", "statement_id"):
            other = pc.binary_join_element_wise(table[name].combine_chunks(), "x", "")
            column = pc.if_else(moved, other, table[name].combine_chunks())
            table = put(table, name, column)
        order = [(name, "ascending") for name in ("subject", "relation", "statement_id")]
        table = table.sort_by(order)
        write_bucket(directory, "facts", bucket, table)
        write_bucket(directory, "groups", bucket, groups_of(table))
        write_bucket(directory, "entities", bucket, ENTITY_SCHEMA.empty_table())
    return Snapshot(
        path=directory,
        day=days(day),
        num_buckets=num_buckets,
        sources=(),
        snapshot_id="made",
        digest="made",
    )


def put(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    """The table of facts with one column replaced."""
    return table.set_column(table.schema.get_field_index(name), FACT_SCHEMA.field(name), column)


if __name__ == "__main__":
    main()
