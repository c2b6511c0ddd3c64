"""Two snapshots' facts of a bucket -> which groups have to be judged at all. Pure, by columns.

A (subject, relation) whose statements are the same in both, and whose dates say nothing of the time
between them, is what it was: at most its values are kept. Of such groups only some are judged, so
that there are facts to measure an edit's neighbours by; most of a snapshot is never made into
objects.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from discovery.parsed import hashes_of

CONTENT = ("statement_id", "value", "value_type", "snaktype", "rank", "qualifiers", "source")
DATES = ("start", "end", "point")
BOUNDS = ("earliest", "latest")
NEVER = np.iinfo(np.int64).min
SLACK = 2
"""Days by which a bound may lie outside the window and still be looked at: what a date's last day
means is for the rules to say."""


@dataclass(frozen=True, slots=True)
class ToJudge:
    """What is left for the rules."""

    old: pa.Table
    new: pa.Table
    since: Mapping[str, int]
    """By subject, the day from which its changes count: also facts that are left out say it."""
    unchanged: int
    """Groups that are left out."""


def to_judge(
    old: pa.Table,
    new: pa.Table,
    *,
    old_day: int,
    new_day: int,
    wanted: Collection[str],
    max_kept: int,
) -> ToJudge:
    """The facts of both tables whose groups have to be judged.

    old_day   the earlier snapshot's; of a subject whose revision is older, that revision's day
    max_kept  unchanged groups of each of the `wanted` relations that are judged all the same, those
              of smallest hash
    """
    both = pa.concat_tables([old, new]).combine_chunks()
    if not both.num_rows:
        return ToJudge(old, new, {}, 0)
    group_R = _codes([both["subject"], both["relation"]])
    num_groups = int(group_R.max()) + 1
    changed_G = _differ(group_R, _codes(_content(both)), old.num_rows, num_groups)
    since_R = _since(both, old.num_rows, old_day)
    changed_G |= _any(group_R, _dated(both, since_R, new_day), num_groups)
    first_G = np.full(num_groups, both.num_rows)
    np.minimum.at(first_G, group_R, np.arange(both.num_rows))
    kept_G = ~changed_G
    first = both.select(["subject", "relation"]).take(first_G)
    asked = pc.is_in(first["relation"], pa.array(sorted(wanted), pa.string()))
    kept_G &= ~_sampled(first, kept_G & asked.to_numpy(zero_copy_only=False), max_kept)
    judged_R = ~kept_G[group_R]
    subjects = both["subject"].filter(pa.array(judged_R)).to_pylist()
    return ToJudge(
        old.filter(pa.array(judged_R[: old.num_rows])),
        new.filter(pa.array(judged_R[old.num_rows :])),
        dict(zip(subjects, since_R[judged_R].tolist(), strict=True)),
        int(kept_G.sum()),
    )


def _codes(columns: list[pa.ChunkedArray | pa.Array]) -> np.ndarray:
    """One number a row, equal where all columns are."""
    codes = None
    for column in columns:
        encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if not pa.types.is_integer(encoded.type):
            encoded = encoded.dictionary_encode(null_encoding="encode").indices
        numbers = encoded.to_numpy(zero_copy_only=False).astype(np.int64)
        if codes is not None:
            numbers = codes * (int(numbers.max()) + 1) + numbers
        _, codes = np.unique(numbers, return_inverse=True)
    assert codes is not None
    return codes


def _content(both: pa.Table) -> list[pa.Array]:
    """What a statement says, without the revision it was read from."""
    columns = [both[name].combine_chunks() for name in CONTENT]
    columns.append(pc.fill_null(pc.binary_join(both["references"].combine_chunks(), "\0"), ""))
    columns += [pa.array(_bound(both, date, bound)) for date in DATES for bound in BOUNDS]
    columns.append(pa.array(_bound(both, "start", "precision")))
    return [pa.array(np.unique(c, return_inverse=True)[1]) if pa.types.is_integer(c.type) else c
            for c in columns]  # fmt: skip


def _bound(both: pa.Table, date: str, bound: str) -> np.ndarray:
    """A bound of a date of every row, NEVER where there is none."""
    column = pc.struct_field(both[date].combine_chunks(), bound)
    return pc.fill_null(column.cast(pa.int64()), NEVER).to_numpy(zero_copy_only=False)


def _differ(group_R: np.ndarray, content_R: np.ndarray, num_old: int, num: int) -> np.ndarray:
    """Groups that do not say the same in both tables."""
    pair_R = group_R * (int(content_R.max()) + 1) + content_R
    before, after = np.unique(pair_R[:num_old]), np.unique(pair_R[num_old:])
    lone = np.setxor1d(before, after, assume_unique=True)
    changed_G = np.zeros(num, bool)
    changed_G[lone // (int(content_R.max()) + 1)] = True
    return changed_G


def _since(both: pa.Table, num_old: int, old_day: int) -> np.ndarray:
    """The day from which changes of each row's subject count: its earlier revision's, if that is
    before the snapshot's."""
    subject_R = _codes([both["subject"]])
    days = pc.utf8_slice_codeunits(both["revision_time"].combine_chunks(), 0, 10)
    day_R = pc.fill_null(days.cast(pa.date32()).cast(pa.int32()), old_day)
    since_S = np.full(int(subject_R.max()) + 1, old_day)
    numbers = day_R.to_numpy(zero_copy_only=False)[:num_old]
    np.minimum.at(since_S, subject_R[:num_old], numbers)
    return since_S[subject_R]


def _dated(both: pa.Table, since_R: np.ndarray, new_day: int) -> np.ndarray:
    """Rows with a date that lies, by any reading, in their window."""
    dated_R = np.zeros(both.num_rows, bool)
    for date in DATES:
        earliest, latest = (_bound(both, date, bound) for bound in BOUNDS)
        there = earliest != NEVER
        dated_R |= there & (latest >= since_R - SLACK) & (earliest <= new_day + SLACK)
    return dated_R


def _any(group_R: np.ndarray, true_R: np.ndarray, num: int) -> np.ndarray:
    found_G = np.zeros(num, bool)
    found_G[group_R[true_R]] = True
    return found_G


def _sampled(first: pa.Table, kept_G: np.ndarray, max_kept: int) -> np.ndarray:
    """Of the unchanged groups, those of smallest hash of their subjects, so many a relation."""
    kept = np.flatnonzero(kept_G)
    chosen = first.take(kept)
    relation_G, hash_G = _codes([chosen["relation"]]), hashes_of(chosen["subject"])
    order = np.lexsort((hash_G, relation_G))
    relations = relation_G[order]
    starts = np.flatnonzero(np.append(True, relations[1:] != relations[:-1])[: len(order)])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    sampled_G = np.zeros(len(kept_G), bool)
    sampled_G[kept[order[rank < max_kept]]] = True
    return sampled_G
