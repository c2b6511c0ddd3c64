"""Bulk sources -> parsed tables, without a copy of what they read: a dump is too large to keep.

One reader passes over the source and hands blocks of it to workers, a few ahead of them; a few
blocks become a parsed table, and many of these one file, sorted as a snapshot reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path

import pyarrow as pa

from discovery.crawl.parsed import merge_parsed, parsed_table, read_parsed
from discovery.sources import BulkConfig, make_bulk_source
from discovery.sources.blocks import Block
from discovery.sources.observation import Skip
from infra.execution.garbage import no_collection
from infra.execution.runner import Runner
from infra.storage.stage_dir import Shard, StageDir

PARSED = "parsed"
"""Directory of the crawl's output."""
BLOCKS_PER_SHARD = 4
SHARDS_PER_FILE = 32


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
        blocks = make_bulk_source(config, base_dir).blocks(as_of)
        while some := tuple(islice(blocks, BLOCKS_PER_SHARD)):
            into.num_lines += sum(block.num_lines for block in some)
            into.num_bytes += sum(len(block.lines) for block in some)
            yield Shard(f"{config.name}-blocks-{some[0].id}", some)
            del some

    read = out.map_tables(runner, _Read(config), shards())
    groups = [
        Shard(f"{config.name}-{n // SHARDS_PER_FILE:05d}", read[n : n + SHARDS_PER_FILE])
        for n in range(0, len(read), SHARDS_PER_FILE)
    ]
    files = out.map_tables(runner, _merge, groups)
    for path in files:
        out.keep(path, f"{PARSED}/{path.name}")
    skips, _ = read_parsed(files, "skip")
    into.skips += [Skip(**row) for row in skips.to_pylist()]


@dataclass(frozen=True)
class _Read:
    """Builds, in the worker process, the function that reads a few blocks."""

    config: BulkConfig

    def __call__(self) -> Callable[[tuple[Block, ...]], pa.Table]:
        source = make_bulk_source(self.config)

        def run(blocks: tuple[Block, ...]) -> pa.Table:
            with no_collection():
                return parsed_table((source.read(block), False) for block in blocks)

        return run


def _merge() -> Callable[[list[Path]], pa.Table]:
    return merge_parsed
