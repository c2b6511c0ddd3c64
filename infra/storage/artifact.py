"""A finished output of a stage, as the stages after it read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Artifact:
    """A finished output of a stage: a directory of tables and JSON files with a record."""

    path: Path
    """Its directory."""
    record: Mapping[str, Any]
    """What `record.json` in the directory says: inputs, settings, digests, counts, duration."""
    made_now: bool = False
    """Whether this run made it; otherwise it was found finished."""

    @property
    def digest(self) -> str:
        """SHA-256 of the output's content; the same for every run that made the same files."""
        return self.record["digest"]

    @property
    def counts(self) -> Mapping[str, Any]:
        """What the stage counted while it made the output, by name."""
        return self.record["counts"]

    def table(self, name: str) -> pa.Table:
        """The Parquet file of this name, whole. Raises FileNotFoundError where there is none."""
        return pq.read_table(self.path / name)

    def json(self, name: str) -> Any:
        """The value of the JSON file of this name. Raises FileNotFoundError where there is none."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))
