"""A finished output of a stage, read by the stages behind it."""

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
    """A finished output."""

    path: Path
    record: Mapping[str, Any]
    made_now: bool = False
    """Whether it was made just now, not found."""

    @property
    def digest(self) -> str:
        """Identity of the content; the same for every run that made the same thing."""
        return self.record["digest"]

    @property
    def counts(self) -> Mapping[str, Any]:
        return self.record["counts"]

    def table(self, name: str) -> pa.Table:
        return pq.read_table(self.path / name)

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text(encoding="utf-8"))
