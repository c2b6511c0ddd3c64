"""The directory of a stage's output while it is being made: tables, JSON, shards, progress."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from infra.execution.runner import Resources, Runner
from infra.files.atomic import ROWS_PER_GROUP, link, write_atomic, write_json, write_table

SHARDS = "shards"
PROGRESS = "progress.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """One independent piece of a stage's work; `id` is deterministic and names its file."""

    id: str
    payload: Any
    """Picklable; small (paths and ids rather than data)."""


class StageDir:
    """The directory of an output while it is being made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digests: dict[str, str] = {}
        """Of files whose digest is known, so that they need not be read for it."""

    def write_table(
        self, name: str, table: pa.Table, *, rows_per_group: int = ROWS_PER_GROUP
    ) -> None:
        write_table(self.path / name, table, rows_per_group=rows_per_group)

    def reuse(self, made: Path, name: str, *, digest: str) -> None:
        """The same file of a finished output in directory `made`, whose digest is known: a hard
        link, or a copy where there can be none."""
        write_atomic(self.path / name, lambda beside: link(made / name, beside))
        self.digests[name] = digest

    def keep(self, path: Path, name: str) -> None:
        """Make a finished shard part of the output, under a name of its own."""
        write_atomic(self.path / name, lambda beside: link(path, beside))

    def write_json(self, name: str, value: Any) -> None:
        write_json(self.path / name, value)

    def read_json(self, name: str) -> Any:
        """What `write_json` wrote under this name."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Tell whoever watches the workspace how far this stage is."""
        write_json(self.path / PROGRESS, {"done": done, "total": total, "text": text})

    def shard_path(self, shard: Shard) -> Path:
        """Where a shard's table is, once it is finished."""
        return self.path / SHARDS / f"{shard.id}.parquet"

    def map_tables(
        self,
        runner: Runner,
        make_worker: Callable[[], Callable[[Any], pa.Table]],
        shards: Iterable[Shard],
        *,
        resources: Resources | None = None,
        on_done: Callable[[Shard], None] = lambda shard: None,
    ) -> list[Path]:
        """Each shard's table in a file of its own, in shard order; shards finished earlier are
        kept.

        `make_worker` is called once a process and returns the function from a shard's payload to
        its table (a model is loaded there once, not once a shard). Both must be picklable. Shards
        may be made as they are taken; those finished earlier are taken and passed over.
        """
        paths: list[Path] = []
        waiting: deque[Shard] = deque()

        def missing() -> Iterator[Any]:
            for shard in shards:
                path = self.shard_path(shard)
                paths.append(path)
                if path.exists():
                    on_done(shard)
                else:
                    waiting.append(replace(shard, payload=None))
                    yield shard.payload, path

        tasks = list(missing()) if isinstance(shards, Sequence) else missing()
        make = _WriteTable(make_worker)
        for _ in runner.map(make, tasks, resources=resources or Resources()):
            on_done(waiting.popleft())
        return paths


@dataclass(frozen=True)
class _WriteTable:
    """Builds, in the worker process, the function that computes one shard and writes it."""

    make_worker: Callable[[], Callable[[Any], pa.Table]]

    def __call__(self) -> Callable[[tuple[Any, Path]], None]:
        worker = self.make_worker()

        def run(task: tuple[Any, Path]) -> None:
            payload, path = task
            write_table(path, worker(payload))

        return run


def read_progress(path: Path) -> Mapping[str, Any] | None:
    """The progress file of a stage under way, or None."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
