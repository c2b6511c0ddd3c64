"""Groups of two snapshots -> which of them the rules have to judge. Pure, by columns.

A group is one (subject, relation). Where its statements are the same in both snapshots and none of
its dates lies after the first, nothing has changed: the rules would only say `keep`. Of these
unchanged groups a sample is judged all the same, to have facts that an edit must leave alone and
that confidence is calibrated on. The facts of the others are never read.

Letters at the end of names: G groups of both snapshots, the earlier first; S subjects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from discovery.facts.hashing import hash_of
from discovery.snapshot.group_digests import NEVER

SLACK = 2
"""Days before the window in which a date still makes its group one to be judged: whether the last
day of a date belongs to it is left to the rules."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ divided by the golden ratio (Knuth's multiplicative hash): spreads the hash of a subject
before that of its relation is added."""


@dataclass(frozen=True, slots=True)
class Side:
    """One snapshot's groups: arrays with an entry for each group, in the order of its table."""

    judged: np.ndarray
    """bool: whether the rules judge the group."""
    since: np.ndarray
    """int64: the day after which changes of the group's subject count, in days since 1970-01-01."""
    known: np.ndarray
    """bool: whether the earlier snapshot has the group's subject."""

    def rows(self, column: np.ndarray, num_G: np.ndarray) -> np.ndarray:
        """An array with an entry for each group as one with an entry for each fact of the judged
        groups.

        num_G  number of facts of each group
        """
        return np.repeat(column[self.judged], num_G[self.judged])


@dataclass(frozen=True, slots=True)
class SelectedGroups:
    """Which groups of two snapshots the rules judge."""

    old: Side
    new: Side
    unchanged: int
    """Number of groups that are unchanged and not judged."""


def select_groups(
    old: pa.Table,
    new: pa.Table,
    *,
    old_day: int,
    wanted: Mapping[str, int],
    forced: Collection[int] = (),
) -> SelectedGroups:
    """Which groups of both tables (`discovery.snapshot.group_digests`) the rules have to judge.

    old_day  day of the earlier snapshot, in days since 1970-01-01; the window of a subject begins
             with the revision that the earlier snapshot has of it, where that is older
    wanted   by relation, how many unchanged groups are judged all the same: those of smallest hash
    forced   hashes of subjects whose groups are judged in any case
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
    """For each group, the day after which changes of its subject count, and whether the earlier
    snapshot has the subject.

    revised_G  days of the revisions of the earlier snapshot's groups, which come first in subject_G
    """
    subjects, subject_of_G = np.unique(subject_G, return_inverse=True)
    since_S, known_S = np.full(len(subjects), old_day), np.full(len(subjects), False)
    earlier = subject_of_G[: len(revised_G)]
    np.minimum.at(since_S, earlier, revised_G)
    known_S[earlier] = True
    return since_S[subject_of_G], known_S[subject_of_G]


def _sampled(
    subject_G: np.ndarray, relation_G: np.ndarray, wanted: Mapping[str, int]
) -> np.ndarray:
    """Which unchanged groups are judged: of each relation the wanted number, of smallest hash."""
    sampled_G = np.full(len(subject_G), False)
    for relation, number in wanted.items():
        mine = np.flatnonzero(relation_G == hash_of(relation))
        sampled_G[mine[np.argsort(subject_G[mine], kind="stable")[:number]]] = True
    return sampled_G


def shares(
    counts: Sequence[Mapping[int, int]], relations: Iterable[str], max_kept: int
) -> list[dict[str, int]]:
    """For each bucket, how many unchanged groups of each relation are judged (`wanted` above), so
    that it is `max_kept` of a relation altogether, from the first buckets on.

    Buckets are ranges of hashes, so these are the groups of smallest hash, and the later buckets
    need not be read for them.

    counts  for each bucket, the number of groups by the hash of their relation
    """
    left = dict.fromkeys(relations, max_kept)
    found = []
    for count in counts:
        share = {r: min(n, count.get(hash_of(r), 0)) for r, n in left.items()}
        found.append({r: n for r, n in share.items() if n})
        left = {r: n - share[r] for r, n in left.items() if n > share[r]}
    return found
