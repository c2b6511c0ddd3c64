"""Hashes of entity ids, and the bucket of a snapshot that an id falls into."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

HASH_BITS = 63
MAX_HASH = (1 << HASH_BITS) - 1


def hash_of(key: str) -> int:
    """The hash of an id, 63 bits: the same in every process and version of Python."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def hashes_of(keys: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """`hash_of` of each id, int64; an id that occurs several times is hashed once."""
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    encoded = keys.dictionary_encode()
    unique = np.fromiter((hash_of(key) for key in encoded.dictionary.to_pylist()), np.int64)
    return unique[encoded.indices.to_numpy(zero_copy_only=False)]


def bucket_of(hashed: int, num_buckets: int) -> int:
    """The bucket of a hash: each bucket is a range of hashes, and all are of equal size."""
    return hashed * num_buckets >> HASH_BITS


def hash_range(first: int, last: int, num_buckets: int) -> tuple[int, int]:
    """Lowest and highest hash of the buckets `first` to `last`, both included."""
    low = -(-(first << HASH_BITS) // num_buckets)
    return low, -(-((last + 1) << HASH_BITS) // num_buckets) - 1
