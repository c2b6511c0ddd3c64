"""SHA-256 digests of JSON values, of a file's bytes, and of a table's rows."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute defines its functions at import time, where a type checker does not see them.

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.files.regular import require_regular


def canonical_json(value: Any) -> bytes:
    """The canonical JSON of a value, UTF-8: sorted keys, no spaces. Raises ValueError for NaN.

    What JSON has no type for is written as its `str`.
    """
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        default=str,
    ).encode()


def digest_of(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal. The file is read in pieces. Raises OSError, also for
    what is no regular file."""
    require_regular(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """Digest of a file that one of our stages wrote: of a Parquet file, the `table_digest` of its
    rows, of any other its `file_digest`.

    The bytes of a Parquet file depend on the version of its writer, its rows do not. One column is
    in memory at a time. Raises
    TypeError for a type of column that no stage writes.
    """
    if path.suffix != ".parquet":
        return file_digest(path)
    with pq.ParquetFile(path) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
        return _digest(schema, num_rows, (file.read([name])[name] for name in schema.names))


def table_digest(table: pa.Table) -> str:
    """SHA-256 of a table's schema and rows, hexadecimal; chunking and slicing do not matter.

    Hashed are, for each column and each part of a nested column: which values are null, their
    lengths, the values. Bytes of a buffer under a null or outside a slice do not count. Raises
    TypeError for a type of column that no stage writes.
    """
    return _digest(table.schema, table.num_rows, table.columns)


def _digest(schema: pa.Schema, num_rows: int, columns: Iterable[pa.ChunkedArray]) -> str:
    """`table_digest` of a table whose columns are given one after the other."""
    sink = hashlib.sha256(canonical_json([[f.name, _spell(f.type)] for f in schema]))
    sink.update(num_rows.to_bytes(8, "little"))
    for column in columns:
        _hash_array(sink, pa.concat_arrays(column.chunks) if column.chunks else None)
    return sink.hexdigest()


def _spell(kind: pa.DataType) -> str:
    """A type's name, without the field names that Parquet gives to the elements of lists."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{_spell(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {_spell(field.type)}' for field in kind)}>"
    return _spell(kind.value_type) if pa.types.is_dictionary(kind) else str(kind)


def _hash_array(sink: Any, array: pa.Array | None) -> None:
    """Add one column, or one part of a nested column, to the digest."""
    if array is None or len(array) == 0 or pa.types.is_null(array.type):
        return
    sink.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)))
    kind = array.type
    if pa.types.is_dictionary(kind):
        _hash_array(sink, array.dictionary_decode())
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            _hash_array(sink, child)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        sink.update(_lengths(pc.list_value_length(array)))
        _hash_array(sink, array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        large = pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()
        _hash_bytes(sink, array.cast(large))
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        _hash_bytes(sink, array)
    elif pa.types.is_boolean(kind):
        sink.update(np.packbits(array.fill_null(False).to_numpy(zero_copy_only=False)))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        sink.update(np.ascontiguousarray(array.fill_null(0).to_numpy(zero_copy_only=False)))
    else:
        raise TypeError(f"a column of {kind} has no digest: give it a type of this list")


def _hash_bytes(sink: Any, array: pa.Array) -> None:
    """Add lengths and bytes of binary values to the digest; a null has length 0."""
    array = array.fill_null(b"")
    sink.update(_lengths(pc.binary_length(array)))
    width = np.int64 if pa.types.is_large_binary(array.type) else np.int32
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1]
    if data is not None:
        sink.update(memoryview(data)[int(bounds[0]) : int(bounds[-1])])


def _lengths(lengths: pa.Array) -> Any:
    """Lengths as 64-bit integers, so that `string` and `large_string` have the same digest."""
    return lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
