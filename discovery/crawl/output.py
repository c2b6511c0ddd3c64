"""What later stages know of the crawl's output: the names of its files, and its count of skips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from discovery.facts.tables import to_table
from discovery.sources.observation import SKIP_SCHEMA, Skip, tally

OBSERVATIONS, FETCHED, SKIPS = "observations.parquet", "fetched.parquet", "skips.parquet"
CRAWL = "crawl.json"
VOLATILE = (FETCHED,)
"""Files that the digest of the output leaves out (`Workspace.run_stage`): they hold times."""


def count_skips(skips: Sequence[Skip]) -> tuple[pa.Table, dict[str, int]]:
    """The skips counted by source and reason, as rows of `SKIP_SCHEMA` with the greatest count
    first, and their number by reason."""
    tallied = tally(skips)
    counts: dict[str, int] = defaultdict(int)
    for skip in tallied:
        counts[skip.reason] += skip.count
    return to_table(tallied, SKIP_SCHEMA), dict(counts)
