"""The facts of a bucket -> its groups in a few numbers each; two of these -> what is to be judged.

A group is what one subject has of one relation. Two groups of equal content hold the same view as
long as no date in them falls between the days on which they are seen, so such a pair needs no
judgement and its facts need not be read. All is arithmetic on columns.
"""

# pyarrow makes the functions of its compute module when it is imported:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from discovery.dates import iso_interval
from discovery.parsed import hashes_of

GROUP_SCHEMA = pa.schema(
    [
        pa.field("key", pa.int64(), nullable=False),
        pa.field("subject", pa.int64(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("first", pa.int64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("content", pa.int64(), nullable=False),
        pa.field("revised", pa.int64(), nullable=False),
        pa.field("event", pa.int64(), nullable=False),
    ]
)
"""Sorted by `key`, the hash of subject and relation. `subject` is the hash of the subject; `first`
and `rows` say where the group lies in the bucket's facts; `content` is a digest of its facts but
for the revisions they were read from; `revised` the day of the subject's revision, of its source
that is the least up to date; `event` the first day after it on which a date changes the view."""
NEVER = np.iinfo(np.int64).max
"""The day of what has no revision, or of no event."""
_ENDPOINTS = (
    ("start", "earliest", 0),
    ("start", "latest", -1),
    ("end", "earliest", 0),
    ("end", "latest", 0),
    ("point", "latest", -1),
    ("point", "latest", 0),
)
"""The days on which `dates.holds` of a fact may change its answer."""


def groups_of(facts: pa.Table, day: int) -> pa.Table:
    """Groups of a bucket's facts, which are sorted by subject and relation; `day` is the
    snapshot's."""
    if not facts.num_rows:
        return GROUP_SCHEMA.empty_table()
    facts = facts.combine_chunks()
    new_subject = _changes(facts["subject"])
    starts = np.flatnonzero(new_subject | _changes(facts["relation"]))
    subject_of = np.cumsum(new_subject) - 1
    revised = _revised(facts, subject_of)[subject_of]
    first = facts.select(["subject", "relation"]).take(starts)
    pair = pc.binary_join_element_wise(first["subject"], first["relation"], "\0")
    table = pa.table(
        [
            hashes_of(pair),
            hashes_of(first["subject"]),
            first["relation"],
            starts,
            np.diff(np.append(starts, facts.num_rows)),
            np.add.reduceat(_contents(facts), starts),
            revised[starts],
            np.minimum.reduceat(_events(facts, np.minimum(revised, day)), starts),
        ],
        schema=GROUP_SCHEMA,
    )
    return table.take(np.argsort(table["key"].to_numpy(), kind="stable"))


@dataclass(frozen=True)
class Selection:
    """Which groups of a bucket are to be judged, by their rows in the two tables of facts."""

    old: np.ndarray
    new: np.ndarray
    old_sampled: np.ndarray
    new_sampled: np.ndarray
    """Of each row, whether its group is reported even where it holds as before."""
    num_unchanged: int
    """Groups that are the same in both and are passed over."""


def select(
    old: pa.Table, new: pa.Table, *, until: int, quota: int, forced: np.ndarray
) -> Selection:
    """Groups that differ, that a date makes differ by the day `until`, of `forced` subjects, and of
    each relation the first `quota` of those that are in both."""
    keys = [table["key"].to_numpy() for table in (old, new)]
    _, in_old, in_new = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    contents = [table["content"].to_numpy() for table in (old, new)]
    same = contents[0][in_old] == contents[1][in_new]
    same &= old["event"].to_numpy()[in_old] > until
    sampled = _first_of_each(new["relation"], in_new, quota)
    passed = same & ~sampled
    wanted, samples = [], []
    for table, both in ((old, in_old), (new, in_new)):
        judged = np.ones(table.num_rows, bool)
        judged[both[passed]] = False
        if len(forced):
            judged |= np.isin(table["subject"].to_numpy(), forced)
        mark = np.zeros(table.num_rows, bool)
        mark[both[sampled]] = True
        rows = table["rows"].to_numpy()[judged]
        wanted.append(_ranges(table["first"].to_numpy()[judged], rows))
        samples.append(np.repeat(mark[judged], rows))
    return Selection(wanted[0], wanted[1], samples[0], samples[1], int(passed.sum()))


def _first_of_each(relations: pa.ChunkedArray, rows: np.ndarray, quota: int) -> np.ndarray:
    """Of each of some groups, whether it is among the first of its relation by key."""
    encoded = relations.combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()[rows]
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    starts = np.searchsorted(sorted_codes, sorted_codes, side="left")
    chosen = np.zeros(len(rows), bool)
    chosen[order[np.arange(len(rows)) - starts < quota]] = True
    return chosen


def _ranges(first: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The numbers of all rows of some groups, in ascending order."""
    order = np.argsort(first)
    first, rows = first[order], rows[order]
    ends = np.cumsum(rows)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(first - (ends - rows), rows)


def _changes(column: pa.ChunkedArray) -> np.ndarray:
    """Of each row of a column, whether it differs from the one before; the first does."""
    values = column.combine_chunks()
    differs = np.ones(len(values), bool)
    if len(values) > 1:
        differs[1:] = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return differs


def _contents(facts: pa.Table) -> np.ndarray:
    """A hash of each fact but for its revision. A group's sum of them wraps around."""
    parts = []
    for name in ("statement_id", "value", "value_type", "snaktype", "rank", "qualifiers", "source"):
        parts.append(facts[name])
    parts.append(pc.binary_join(facts["references"], "\1"))
    for name in ("start", "end", "point"):
        for index in range(3):
            parts.append(pc.struct_field(facts[name], index).cast(pa.string()))
    text = pc.binary_join_element_wise(
        *parts, "\0", null_handling="replace", null_replacement="\2"
    )
    return hashes_of(text)


def _revised(facts: pa.Table, subject_of: np.ndarray) -> np.ndarray:
    """Of each subject the day of its latest revision; of several sources the earliest of these."""
    prefix = pc.utf8_slice_codeunits(facts["revision_time"], 0, 10).combine_chunks()
    encoded = prefix.dictionary_encode()
    days = np.array([iso_interval(text).earliest for text in encoded.dictionary.to_pylist()] + [0])
    index = encoded.indices.fill_null(len(days) - 1).to_numpy()
    dated = index < len(days) - 1
    revised = np.full(int(subject_of[-1]) + 1, NEVER)
    sources = facts["source"].combine_chunks().dictionary_encode()
    codes = sources.indices.to_numpy()
    for code in range(len(sources.dictionary)):
        mine = dated & (codes == code)
        latest = np.full(len(revised), -NEVER)
        np.maximum.at(latest, subject_of[mine], days[index[mine]])
        revised = np.minimum(revised, np.where(latest == -NEVER, NEVER, latest))
    return revised


def _events(facts: pa.Table, seen: np.ndarray) -> np.ndarray:
    """Of each fact the first day after `seen` on which what it says of time may change."""
    event = np.full(facts.num_rows, NEVER)
    for name, end, shift in _ENDPOINTS:
        column = pc.struct_field(facts[name], end).combine_chunks()
        known = column.is_valid().to_numpy(zero_copy_only=False)
        days = column.fill_null(0).to_numpy() + shift
        event = np.where(known & (days > seen), np.minimum(event, days), event)
    return event
