"""Bulk sources -> parsed tables, without a copy of what they read: a dump is too large to keep.

One reader passes over the source and hands blocks of it to workers, a few ahead of them; each block
becomes a parsed table, and the tables of a few blocks one file, sorted as a snapshot reads it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa

from discovery.parsed import merge_parsed, parsed_table, read_parsed
from discovery.sources import BulkConfig, make_bulk_source
from discovery.sources.lines import Block
from discovery.sources.observation import Skip
from infra.runner import Runner
from infra.storage import Shard, StageDir

PARSED = "parsed"
"""Directory of the crawl's output."""
BLOCKS_PER_FILE = 64


@dataclass
class BulkRead:
    """What came of reading bulk sources."""

    skips: list[Skip] = field(default_factory=list)
    num_lines: int = 0
    num_bytes: int = 0
    """Unpacked."""


def read_bulk(
    config: BulkConfig,
    as_of: date,
    into: BulkRead,
    *,
    out: StageDir,
    runner: Runner,
    base_dir: Path,
) -> None:
    """Read a source into `parsed/NAME-NNNNN.parquet`; blocks finished before an interruption are
    kept and only passed over. Raises SourceError."""

    def shards() -> Iterator[Shard]:
        for block in make_bulk_source(config, base_dir).blocks(as_of):
            into.num_lines += block.num_lines
            into.num_bytes += len(block.lines)
            yield Shard(f"{config.name}-block-{block.id}", block)

    blocks = out.map_tables(runner, _Read(config), shards())
    groups = [
        Shard(f"{config.name}-{n // BLOCKS_PER_FILE:05d}", blocks[n : n + BLOCKS_PER_FILE])
        for n in range(0, len(blocks), BLOCKS_PER_FILE)
    ]
    files = out.map_tables(runner, _merge, groups)
    for path in files:
        out.keep(path, f"{PARSED}/{path.name}")
    skips, _ = read_parsed(files, "skip")
    into.skips += [Skip(**row) for row in skips.to_pylist()]


@dataclass(frozen=True)
class _Read:
    """Builds, in the worker process, the function that reads one block."""

    config: BulkConfig

    def __call__(self) -> Callable[[Block], pa.Table]:
        source = make_bulk_source(self.config)

        def run(block: Block) -> pa.Table:
            collects = gc.isenabled()
            gc.disable()  # it would look through the many young records again and again
            try:
                return parsed_table([(source.read(block), False)])
            finally:
                if collects:
                    gc.enable()

        return run


def _merge() -> Callable[[list[Path]], pa.Table]:
    return merge_parsed
