"""A digest of each (subject, relation) group of facts. Two snapshots are compared by these digests,
without reading the facts of groups that are the same in both.

Letters in names of arrays: R rows (facts), G groups.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions as it is loaded.

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from discovery.facts.hashing import hashes_of

GROUP_SCHEMA = pa.schema(
    [
        pa.field("subject", pa.int64(), nullable=False),
        pa.field("relation", pa.int64(), nullable=False),
        pa.field("content", pa.int64(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        ("latest", pa.int64()),
        ("revised", pa.int32()),
    ]
)
"""Groups, in the order of their facts in the bucket's file. `subject` and `relation` are the hashes
of the ids (`hash_of`). `content` is a digest of the facts without their revisions. `rows` is the
number of facts. `latest` is the last day that any of the group's dates may mean, null without
dates. `revised` is the day of the earliest revision, null where no revision has a time. Days are
counted from 1970-01-01."""

TEXTS = (
    "statement_id",
    "value",
    "bounds",
    "value_type",
    "snaktype",
    "rank",
    "qualifiers",
    "source",
)
"""Text columns of the facts that `content` digests; the references are added to them."""
DATES = ("start", "end", "point")
"""Date columns of the facts that `content` digests."""
BOUNDS = ("earliest", "latest", "precision")
"""Numbers in each date."""
NEVER = np.iinfo(np.int64).min
"""Stands for an absent number of a date."""


def groups_of(facts: pa.Table) -> pa.Table:
    """The groups of some facts, as rows of `GROUP_SCHEMA`. Pure.

    facts  rows of `FACT_SCHEMA`, sorted by subject and relation
    """
    facts = facts.combine_chunks()
    if not facts.num_rows:
        return GROUP_SCHEMA.empty_table()
    new_R = np.full(facts.num_rows, True)
    keys = [facts[name].combine_chunks() for name in ("subject", "relation")]
    differ = [pc.not_equal(key[1:], key[:-1]).to_numpy(zero_copy_only=False) for key in keys]
    new_R[1:] = differ[0] | differ[1]
    start_G = np.flatnonzero(new_R)
    num_G = np.diff(np.append(start_G, facts.num_rows))
    dates = [[_bound(facts, date, bound) for bound in BOUNDS] for date in DATES]
    latest_G = np.maximum.reduceat(np.max([date[1] for date in dates], axis=0), start_G)
    revised_G = np.minimum.reduceat(_days(facts["revision_time"].combine_chunks()), start_G)
    return pa.table(
        {
            "subject": hashes_of(keys[0])[start_G],
            "relation": hashes_of(keys[1])[start_G],
            "content": _contents(facts, [n for date in dates for n in date], start_G, num_G),
            "rows": pa.array(num_G, pa.int32()),
            "latest": pa.array(latest_G, mask=latest_G == NEVER),
            "revised": pa.array(revised_G, pa.int32(), mask=revised_G == _NO_DAY),
        },
        schema=GROUP_SCHEMA,
    )


def _contents(
    facts: pa.Table, numbers: list[np.ndarray], start_G: np.ndarray, num_G: np.ndarray
) -> np.ndarray:
    """The digest of each group's texts and numbers. Shape [G], int64.

    The lengths of the texts are among the numbers, so that different texts whose joined characters
    are the same have different digests.
    """
    references = facts["references"].combine_chunks()
    texts = [facts[name].combine_chunks() for name in TEXTS]
    texts.append(pc.binary_join(references, "\0"))
    texts = [text.fill_null("") for text in texts]
    lengths = [pc.binary_length(text).to_numpy(zero_copy_only=False) for text in texts]
    counts = references.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    numbers_R = np.stack([*numbers, *lengths, counts], axis=1).astype(np.int64)
    large = [text.cast(pa.large_string()) for text in texts]
    joined = pc.binary_join_element_wise(*large, pa.scalar("", pa.large_string()))
    _, offsets, data = joined.buffers()
    bounds = np.frombuffer(offsets, np.int64)[joined.offset :]
    text, figures = memoryview(data or b""), memoryview(numbers_R.tobytes())
    width = numbers_R.shape[1] * 8
    stop_G = start_G + num_G
    spans = zip(bounds[start_G].tolist(), bounds[stop_G].tolist(), start_G.tolist(),
                stop_G.tolist(), strict=True)  # fmt: skip
    digests = bytearray()
    for first, last, start, stop in spans:
        sink = blake2b(text[first:last], digest_size=8)
        sink.update(figures[start * width : stop * width])
        digests += sink.digest()
    return np.frombuffer(digests, np.int64)


_NO_DAY = np.iinfo(np.int32).max
"""Stands for an absent day."""


def _days(times: pa.Array) -> np.ndarray:
    """The days of ISO times, counted from 1970-01-01; `_NO_DAY` where a time is null."""
    dates = pc.utf8_slice_codeunits(times, 0, 10).cast(pa.date32()).cast(pa.int32())
    return dates.fill_null(_NO_DAY).to_numpy(zero_copy_only=False)


def _bound(facts: pa.Table, date: str, bound: str) -> np.ndarray:
    """One number of one date column, for every fact; `NEVER` where it is null. Shape [R], int64."""
    column = pc.struct_field(facts[date].combine_chunks(), bound)
    return column.cast(pa.int64()).fill_null(NEVER).to_numpy(zero_copy_only=False)
