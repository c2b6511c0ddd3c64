"""A finished output of a stage, as the stages after it read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra.errors import StageError
from infra.storage.bucket import Bucket
from infra.storage.integrity import LARGE_BYTES, Fault, damage, faults, whole_file


@dataclass(frozen=True)
class Artifact:
    """A finished output of a stage: a directory of tables and JSON files with a record.

    A file is checked when it is first read. What reads one raises StageError where it is missing or
    damaged (`infra.storage.integrity`).
    """

    directory: Path
    """Its directory. In a copy of a bucket, files are there from their first use on."""
    record: Mapping[str, Any]
    """What `record.json` in the directory says: inputs, settings, digests, counts, duration."""
    made_now: bool = False
    """Whether this run made it; otherwise it was found finished."""
    bucket: Bucket | None = field(default=None, compare=False, repr=False)
    """Where its files come from; None where they are in the directory."""

    @property
    def path(self) -> Path:
        """Its directory, with all files in it."""
        return self.holding(*self.record.get("files", ()))

    @property
    def digest(self) -> str:
        """SHA-256 of the output's content; the same for every run that made the same files."""
        return self.record["digest"]

    @property
    def counts(self) -> Mapping[str, Any]:
        """What the stage counted while it made the output, by name."""
        return self.record["counts"]

    def has(self, name: str) -> bool:
        """Whether the output has a file of this name, as its record says."""
        return name in self.record.get("files", ())

    def holding(self, *names: str) -> Path:
        """Its directory, with the files of these names in it."""
        if self.bucket is not None:
            self.bucket.fetch(self.directory, self.record, names)
        return self.directory

    def file(self, name: str) -> Path:
        """The path of the file of this name, after a check."""
        if self.bucket is not None and self.has(name):
            self._mend(name)
        return whole_file(self.directory, name)

    def files(self, folder: str) -> list[Path]:
        """The paths of the files in a folder of the output, after a check, sorted."""
        names = sorted(n for n in self.record.get("files", ()) if n.startswith(f"{folder}/"))
        return [self.file(name) for name in names]

    def table(self, name: str, **options: Any) -> pa.Table:
        """The Parquet file of this name, whole; `options` of pyarrow's `read_table` read less."""
        path = self.file(name)
        try:
            return pq.read_table(path, **options)
        except (pa.ArrowException, OSError) as error:
            raise StageError(damage(Fault(path, f"unreadable ({error})"))) from None

    def json(self, name: str) -> Any:
        """The value of the JSON file of this name."""
        path = self.file(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise StageError(damage(Fault(path, f"unreadable ({error})"))) from None

    def require_whole(self, *, thorough: bool = False) -> None:
        """Raise StageError unless all files are there and whole.

        thorough  whether the contents of large files are read too
        """
        limit = None if thorough else LARGE_BYTES
        if self.bucket is not None:
            for fault in [*faults(self.path, self.record, up_to=limit)]:
                self._mend(fault.path.relative_to(self.directory).as_posix())
        if fault := next(faults(self.directory, self.record, up_to=limit), None):
            raise StageError(damage(fault))

    def faults(self, *, up_to: int | None) -> Iterator[Fault]:
        """What is wrong with its files (`infra.storage.integrity.faults`); nothing in a copy of a
        bucket, which is mended as its files are used."""
        if self.bucket is None:
            yield from faults(self.directory, self.record, up_to=up_to)

    def _mend(self, name: str) -> None:
        """Download a file of a copy, again where it is damaged."""
        self.holding(name)
        try:
            whole_file(self.directory, name)
        except StageError:
            (self.directory / name).unlink(missing_ok=True)
            self.holding(name)
