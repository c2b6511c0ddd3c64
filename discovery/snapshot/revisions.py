"""The subjects that crawls observed themselves, each with its latest revision."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.crawl.output import OBSERVATIONS
from discovery.snapshot.output import REVISIONS, Snapshot
from infra.storage.artifact import Artifact
from infra.storage.integrity import whole_file


def observed_of(observations: Artifact, crawled: dict[str, Any], kinds: Sequence[str]) -> pa.Table:
    """The subjects that were observed, for sources whose coverage is `subject`.

    observations  output of the crawl
    crawled       what `crawl.json` says, by source
    kinds         kinds of observations that count

    Returns columns source, subject and revision: the latest revision, null where none is known.
    """
    covered = [name for name, about in crawled.items() if about["coverage"] == "subject"]
    wanted = pc.field("kind").isin(kinds) & pc.field("source").isin(pa.array(covered, pa.string()))
    columns = ["source", "about", "revision"]
    table = observations.table(OBSERVATIONS, columns=columns, filters=wanted)
    table = table.rename_columns(["source", "subject", "revision"])
    latest = table.group_by(["source", "subject"]).aggregate([("revision", "max")])
    return latest.rename_columns(["source", "subject", "revision"])


def merge_revisions(
    previous: Snapshot | None, found: Sequence[pa.Table], same: Sequence[str]
) -> pa.Table:
    """The revisions of the earlier snapshot, updated with those that were found now.

    found       tables of source, subject and revision: the observed subjects, then those that could
                not be read; where a subject is in both, the first counts. An unreadable subject has
                no revision, so that the next crawl fetches it again
    same        names of the sources that are configured as before; the revisions of others are left
                out
    """
    keys, tables = ["source", "subject"], [*found]
    if previous is not None:
        earlier = pq.read_table(whole_file(previous.path, REVISIONS))
        tables.append(earlier.filter(pc.is_in(earlier["source"], pa.array(same, pa.string()))))
    table = tables[0]
    for older in tables[1:]:
        kept = older.join(table.select(keys), keys, join_type="left anti")
        table = pa.concat_tables([table, kept.cast(table.schema)])
    return table.sort_by([("source", "ascending"), ("subject", "ascending")])
