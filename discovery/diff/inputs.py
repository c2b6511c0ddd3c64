"""The first step of the diff: selects the groups that have to be judged and reads their facts,
bucket by bucket.

Letter in names of arrays: G groups.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.diff.compare import window_begins
from discovery.diff.redirects import merged_into, moved_facts, resolved_values
from discovery.diff.selection import SelectedGroups, Side, select_groups, shares
from discovery.facts.fact import FACT_SCHEMA, Fact
from discovery.facts.hashing import hash_of
from discovery.facts.tables import from_table
from discovery.snapshot.output import Snapshot, read_marked

UNCHANGED = b"unchanged"
"""Key in the schema metadata of a table of selected facts: how many unchanged groups of the bucket
were left out."""
ROWS_PER_TASK = 50_000
"""About how many facts one task judges. Each task looks up names in all buckets."""

SELECTED_SCHEMA = pa.schema(
    [*FACT_SCHEMA, ("is_old", pa.bool_()), ("since", pa.int64()), ("known", pa.bool_())]
)
"""Facts to be judged. `is_old` is true for facts of the earlier snapshot. `since` is the day after
which the window of the subject begins, counted from 1970-01-01. `known` is true where the earlier
snapshot has the subject."""


@dataclass(frozen=True)
class ReadSelected:
    """Builds the function that reads the facts to be judged of one bucket.

    The function takes the number of the bucket, and returns a table of `SELECTED_SCHEMA`.
    """

    before: Snapshot | None
    """The earlier snapshot, or None."""
    new: Snapshot
    """The later snapshot."""
    wanted: Sequence[Mapping[str, int]]
    """For each bucket, relation -> how many unchanged groups are judged too."""
    redirects: Mapping[str, str]
    """Id of a merged entity -> id of the entity that it is now (`redirects_of`)."""

    def __call__(self) -> Callable[[int], pa.Table]:
        def run(bucket: int) -> pa.Table:
            path, unchanged = self.new.bucket("facts", bucket), 0
            if self.before is None:
                tables = [_marked(pq.read_table(path, schema=FACT_SCHEMA), False)]
            else:
                found, (old_rows_G, new_rows_G) = self._to_judge(self.before, bucket)
                unchanged = found.unchanged
                before = self.before.bucket("facts", bucket)
                old = _read(before, found.old, old_rows_G, is_old=True)
                new = _read(path, found.new, new_rows_G, is_old=False)
                tables = [*self._as_now(self.before, old, bucket), new]
            table = resolved_values(pa.concat_tables(tables), self.redirects)
            return table.replace_schema_metadata({UNCHANGED: str(unchanged)})

        return run

    def _to_judge(self, before: Snapshot, bucket: int) -> tuple[SelectedGroups, list[np.ndarray]]:
        """The selected groups of a bucket, and the number of facts of each group in the earlier and
        in the later snapshot."""
        paths = (before.bucket("groups", bucket), self.new.bucket("groups", bucket))
        groups = [pq.ParquetFile(path, memory_map=True).read() for path in paths]
        into = merged_into(bucket, self.new.num_buckets, self.redirects)
        found = select_groups(
            *groups,
            old_day=before.day,
            wanted=self.wanted[bucket],
            forced={hash_of(target) for target in into.values()},
        )
        return found, [side["rows"].to_numpy() for side in groups]

    def _as_now(self, before: Snapshot, facts: pa.Table, bucket: int) -> list[pa.Table]:
        """The earlier facts of a bucket, with merged subjects replaced by what they are now."""
        gone = pc.is_in(facts["subject"], pa.array(list(self.redirects), pa.string()))
        moved = moved_facts(before, bucket, self.redirects)
        begun = window_begins(from_table(moved, Fact), before.day)
        since = [begun.get(subject, before.day) for subject in moved["subject"].to_pylist()]
        known = np.full(len(since), True)
        return [facts.filter(pc.invert(gone)), _marked(moved, True, since, known)]


def _read(path: Path, side: Side, num_G: np.ndarray, *, is_old: bool) -> pa.Table:
    """The facts of the groups to be judged, as rows of `SELECTED_SCHEMA`.

    num_G  number of facts in each group of the file. Shape [G]
    """
    facts = read_marked(path, np.repeat(side.judged, num_G), FACT_SCHEMA)
    return _marked(facts, is_old, side.rows(side.since, num_G), side.rows(side.known, num_G))


def _marked(
    facts: pa.Table,
    is_old: bool,
    since: Sequence[int] | np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> pa.Table:
    """Facts as rows of `SELECTED_SCHEMA`."""
    columns = {
        "is_old": np.full(facts.num_rows, is_old),
        "since": pa.nulls(facts.num_rows, pa.int64()) if since is None else since,
        "known": np.full(facts.num_rows, False) if known is None else known,
    }
    for name, column in columns.items():
        facts = facts.append_column(name, pa.array(column, SELECTED_SCHEMA.field(name).type))
    return facts.cast(SELECTED_SCHEMA)


def wanted_of(
    snapshot: Snapshot, relations: Collection[str], max_kept: int
) -> list[dict[str, int]]:
    """For each bucket of a snapshot, relation -> how many unchanged groups to judge, about
    `max_kept` of each relation in all."""
    counts = []
    for bucket in range(snapshot.num_buckets):
        path = snapshot.bucket("groups", bucket)
        column = pq.ParquetFile(path, memory_map=True).read(["relation"])["relation"]
        counts.append({row["values"].as_py(): row["counts"].as_py()
                       for row in pc.value_counts(column)})  # fmt: skip
    return shares(counts, sorted(relations), max_kept)


def runs_of(paths: Sequence[Path]) -> list[list[Path]]:
    """The files split into runs, in order, each of at most `ROWS_PER_TASK` rows unless a single
    file has more."""
    runs: list[list[Path]] = []
    held = 0
    for path in paths:
        rows = pq.read_metadata(path).num_rows
        if runs and held + rows <= ROWS_PER_TASK:
            runs[-1].append(path)
        else:
            runs.append([path])
            held = 0
        held += rows
    return runs
