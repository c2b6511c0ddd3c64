"""Two snapshots' groups of a bucket -> which of them have to be judged at all. Pure, by columns.

A (subject, relation) whose statements are the same in both, and whose dates say nothing of the time
since the first, is what it was: at most its values are kept. Of such groups only some are judged,
so that there are facts to measure an edit's neighbours by; the facts of most are never read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from discovery.facts.hashing import hash_of
from discovery.snapshot.group_digests import NEVER

SLACK = 2
"""Days by which a date may end before the window and still be looked at: what a date's last day
means is for the rules to say."""
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Side:
    """Of each group of one snapshot."""

    judged: np.ndarray
    """bool: whether it is left for the rules."""
    since: np.ndarray
    """int64: the day from which changes of its subject count; groups that are left out say it too.
    """
    known: np.ndarray
    """bool: whether the earlier snapshot has its subject."""

    def rows(self, column: np.ndarray, num_G: np.ndarray) -> np.ndarray:
        """A column of groups as one of the rows of those that are judged, num_G of each group."""
        return np.repeat(column[self.judged], num_G[self.judged])


@dataclass(frozen=True, slots=True)
class SelectedGroups:
    """What is left for the rules."""

    old: Side
    new: Side
    unchanged: int
    """Groups that are left out."""


def select_groups(
    old: pa.Table,
    new: pa.Table,
    *,
    old_day: int,
    wanted: Mapping[str, int],
    forced: Collection[int] = (),
) -> SelectedGroups:
    """Which groups of both tables (`discovery.snapshot.group_digests`) have to be judged.

    old_day   the earlier snapshot's; of a subject whose revision is older, that revision's day
    wanted    by relation, how many unchanged groups are judged all the same: those of smallest hash
    forced    hashes of subjects that are judged in any case
    """
    num_old = old.num_rows
    both = {name: np.concatenate([_numbers(old, name), _numbers(new, name)])
            for name in ("subject", "relation", "content")}  # fmt: skip
    since_G, known_G = _subjects(both["subject"], _numbers(old, "revised", old_day), old_day)
    latest_G = np.concatenate([_numbers(side, "latest", NEVER) for side in (old, new)])
    open_G = (latest_G >= old_day - SLACK) | np.isin(both["subject"], list(forced))
    key_G = both["subject"].view(np.uint64) * _ODD + both["relation"].view(np.uint64)
    order = np.argsort(key_G, kind="stable")  # of a group in both, the earlier comes first
    first, second = order[:-1], order[1:]
    same = key_G[first] == key_G[second]
    alone = np.append(True, ~same[:-1]) & np.append(~same[1:], True)  # no third of the same key
    kept = same & alone & (first < num_old) & (second >= num_old)
    kept &= both["content"][first] == both["content"][second]
    kept &= ~(open_G[first] | open_G[second])
    first, second = first[kept], second[kept]
    sampled = _sampled(both["subject"][first], both["relation"][first], wanted)
    judged_G = np.full(len(key_G), True)
    judged_G[first[~sampled]] = judged_G[second[~sampled]] = False
    earlier = Side(judged_G[:num_old], since_G[:num_old], known_G[:num_old])
    later = Side(judged_G[num_old:], since_G[num_old:], known_G[num_old:])
    return SelectedGroups(earlier, later, int((~sampled).sum()))


def _numbers(groups: pa.Table, name: str, absent: int = 0) -> np.ndarray:
    column = groups[name].combine_chunks()
    return column.cast(pa.int64()).fill_null(absent).to_numpy(zero_copy_only=False)


def _subjects(
    subject_G: np.ndarray, revised_G: np.ndarray, old_day: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each group's subject, the day from which its changes count, which is its earlier
    revision's, if that is before the snapshot's; and whether it was there before. `revised_G` is of
    the earlier groups, which come first."""
    subjects, subject_of_G = np.unique(subject_G, return_inverse=True)
    since_S, known_S = np.full(len(subjects), old_day), np.full(len(subjects), False)
    earlier = subject_of_G[: len(revised_G)]
    np.minimum.at(since_S, earlier, revised_G)
    known_S[earlier] = True
    return since_S[subject_of_G], known_S[subject_of_G]


def _sampled(
    subject_G: np.ndarray, relation_G: np.ndarray, wanted: Mapping[str, int]
) -> np.ndarray:
    """Of the unchanged groups, those of smallest hash of their subjects, so many a relation."""
    sampled_G = np.full(len(subject_G), False)
    for relation, number in wanted.items():
        mine = np.flatnonzero(relation_G == hash_of(relation))
        sampled_G[mine[np.argsort(subject_G[mine], kind="stable")[:number]]] = True
    return sampled_G


def shares(
    counts: Sequence[Mapping[int, int]], relations: Iterable[str], max_kept: int
) -> list[dict[str, int]]:
    """How many groups of each relation each bucket may keep, so that of each relation the first
    `max_kept` are kept: buckets are ranges of hashes, and most need not be read for this.

    counts  by bucket and hash of a relation, its groups
    """
    left = dict.fromkeys(relations, max_kept)
    found = []
    for count in counts:
        share = {r: min(n, count.get(hash_of(r), 0)) for r, n in left.items()}
        found.append({r: n for r, n in share.items() if n})
        left = {r: n - share[r] for r, n in left.items() if n > share[r]}
    return found
