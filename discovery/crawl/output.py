"""A crawl's files, for the stages behind it: their names, and what was skipped, counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from discovery.facts.tables import to_table
from discovery.sources.observation import SKIP_SCHEMA, Skip, tally

OBSERVATIONS, FETCHED, SKIPS = "observations.parquet", "fetched.parquet", "skips.parquet"
CRAWL = "crawl.json"
VOLATILE = (FETCHED,)
"""Files for `Workspace.run_stage(volatile=...)`."""


def count_skips(skips: Sequence[Skip]) -> tuple[pa.Table, dict[str, int]]:
    """A table of (source, reason, first sample, count) sorted by count, and counts by reason."""
    tallied = tally(skips)
    counts: dict[str, int] = defaultdict(int)
    for skip in tallied:
        counts[skip.reason] += skip.count
    return to_table(tallied, SKIP_SCHEMA), dict(counts)
