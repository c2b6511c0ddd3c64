"""The directory of a stage's output while the stage runs: tables, JSON files, shards, progress."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra.execution.runner import Resources, Runner
from infra.files.atomic import (
    ROWS_PER_GROUP,
    Flush,
    link_or_copy,
    make_directory,
    write_atomic,
    write_json,
    write_table,
    write_text,
)
from infra.files.clone import clone
from infra.storage.integrity import recorded_bytes
from infra.telemetry.progress import Meter

log = logging.getLogger(__name__)

SHARDS = "shards"
"""Folder of the finished shards, removed when the output is finished."""
WAITS = f"{SHARDS}/waits"
"""Folder of what is waited for (`infra.telemetry.waits`), removed with the shards."""
PROGRESS = "progress.json"
"""File with the progress of the stage (`StageDir.progress`), removed when the output is
finished."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One independent piece of a stage's work."""

    id: str
    """Name of the file of its result; the same in every run with the same inputs."""
    payload: Any
    """Argument of the worker's function. Picklable and small: paths and ids rather than data."""


class StageDir:
    """The directory of an output while a stage makes it.

    Every file is written atomically. What is flushed at once is shards, which a later run may find;
    the rest is flushed when the output is finished (`Workspace.run_stage`).
    """

    def __init__(self, path: Path) -> None:
        """
        path  the directory, which exists
        """
        self.path = path
        self.digests: dict[str, str] = {}
        """File name -> its digest, where that is known without reading the file."""
        self.bytes: dict[str, dict[str, Any]] = {}
        """File name -> size and SHA-256 of its bytes, where known without reading the file."""

    def write_table(
        self, name: str, table: pa.Table, *, rows_per_group: int = ROWS_PER_GROUP
    ) -> None:
        """Write a table as the Parquet file `name`, with at most `rows_per_group` rows in a row
        group."""
        path = self.path / name
        write_table(path, table, rows_per_group=rows_per_group, flush=Flush.NOTHING)

    def write_tables(self, name: str, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
        """Write tables of one schema as the Parquet file `name`, one behind the other as they come.
        About `ROWS_PER_GROUP` rows are in memory."""

        def write(temporary: Path) -> None:
            waiting: list[pa.Table] = [schema.empty_table()]
            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for table in tables:
                    waiting.append(table)
                    if sum(part.num_rows for part in waiting) >= ROWS_PER_GROUP:
                        writer.write_table(pa.concat_tables(waiting))
                        waiting.clear()
                if waiting:
                    writer.write_table(pa.concat_tables(waiting))

        write_atomic(self.path / name, write, flush=Flush.NOTHING)

    def reuse(self, made: Path, name: str, *, digest: str) -> None:
        """Take over the file `name` of a finished output, as a hard link or a copy.

        made    directory of the finished output
        digest  of the file, as the record of that output has it
        """
        self.keep(made / name, name)
        self.digests[name] = digest
        if known := recorded_bytes(made, name):
            self.bytes[name] = known

    def keep(self, path: Path, name: str) -> None:
        """Make a finished file part of the output, as the file `name`: a hard link or a copy."""
        write_atomic(
            self.path / name,
            lambda temporary: link_or_copy(path, temporary),
            flush=Flush.NOTHING,
        )

    def copy(self, path: Path, name: str) -> None:
        """Make a copy of a finished file part of the output, as the file `name`."""
        clone(path, self.path / name)

    def keep_tree(self, directory: Path, name: str) -> None:
        """Make all files of a finished directory part of the output, as the directory `name`."""
        make_directory(self.path / name, flush=Flush.NOTHING)
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                self.keep(path, f"{name}/{path.relative_to(directory).as_posix()}")

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as the JSON file `name`. Raises ValueError for NaN and infinity."""
        write_json(self.path / name, value, flush=Flush.NOTHING)

    def write_text(self, name: str, text: str) -> None:
        """Write the text file `name`, UTF-8."""
        write_text(self.path / name, text, flush=Flush.NOTHING)

    def write_lines(self, name: str, lines: Iterable[str]) -> None:
        """Write the text file `name`, UTF-8, each line as it comes, with a line feed behind it."""

        def write(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(f"{line}\n" for line in lines)

        write_atomic(self.path / name, write, flush=Flush.NOTHING)

    def read_json(self, name: str) -> Any:
        """The value of the JSON file `name`. Raises FileNotFoundError where there is none."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def progress(self, done: int, total: int, text: str = "", **figures: float) -> None:
        """Write how many units of the stage's work are done, of how many, and figures of them, for
        `read_progress`."""
        said = {"done": done, "total": total, "text": text, "figures": figures}
        write_json(self.path / PROGRESS, said, flush=Flush.NOTHING)

    def shard_path(self, shard: Shard) -> Path:
        """The Parquet file of a shard's table, which exists once the shard is finished."""
        return self.path / SHARDS / f"{shard.id}.parquet"

    def map_tables(
        self,
        runner: Runner,
        make_worker: Callable[[], Callable[[Any], pa.Table]],
        shards: Iterable[Shard],
        *,
        resources: Resources | None = None,
        on_done: Callable[[Shard], None] = lambda shard: None,
        phase: str | None = None,
    ) -> list[Path]:
        """Compute the table of every shard, write each to a file, and return the files in the order
        of the shards.

        A shard whose file exists, from an earlier run that was interrupted, is not computed again.

        make_worker  called once in each worker process; returns the function from a shard's payload
                     to its table, and may load a model for it. Picklable
        shards       the work; an iterator is read only as fast as its shards are needed
        resources    what one worker needs
        on_done      called with each finished shard; the payload of one computed now is None
        phase        name under which the finished shards are told in the progress file; of an
                     iterator, whose length is not known, nothing is told

        Raises what the worker raises, and StageError where its process dies repeatedly.
        """
        paths: list[Path] = []
        meter = None
        if phase and isinstance(shards, Sequence):
            found = sum(self.shard_path(shard).exists() for shard in shards)
            meter = Meter(self.progress, phase, len(shards), found=found)
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
            shard = waiting.popleft()
            log.info("shard finished", extra={"shard": shard.id})
            on_done(shard)
            if meter:
                meter.add(1)
        return paths


@dataclass(frozen=True)
class _WriteTable:
    """Builds, in the worker process, the function that computes one shard and writes it."""

    make_worker: Callable[[], Callable[[Any], pa.Table]]

    def __call__(self) -> Callable[[tuple[Any, Path]], None]:
        worker = self.make_worker()

        def run(task: tuple[Any, Path]) -> None:
            payload, path = task
            write_table(path, worker(payload), flush=Flush.CONTENT)

        return run


def read_progress(path: Path) -> Mapping[str, Any] | None:
    """The content of a stage's progress file: `done`, `total`, `text` and `figures`, as
    `StageDir.progress` wrote them. None where the file cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
