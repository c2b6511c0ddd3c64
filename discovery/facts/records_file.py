"""The records of a large table, read a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from infra.storage.artifact import Artifact

T = TypeVar("T")

ROWS_PER_PIECE = 8192
"""Rows that are records in memory at a time."""


@dataclass(frozen=True)
class RecordsFile(Generic[T]):
    """The records in a file of a finished output. Each iteration reads them anew, in the order of
    the file, and holds one piece of them. As an input of a stage it is known by the digest of its
    rows."""

    made: Artifact
    """The output."""
    name: str
    """Name of the Parquet file."""
    read: Callable[[pa.Table], Sequence[T]]
    """The records of some rows."""

    @property
    def digest(self) -> str:
        """Digest of the rows, as the record of the output has it."""
        return self.made.record["files"][self.name]

    def __iter__(self) -> Iterator[T]:
        """Raises StageError where the file is missing or damaged."""
        with pq.ParquetFile(self.made.file(self.name)) as file:
            for piece in file.iter_batches(ROWS_PER_PIECE):
                yield from self.read(pa.Table.from_batches([piece]))
