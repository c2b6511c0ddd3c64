"""Bulk sources, such as dumps, parsed while they are read: their data are too large to be stored.

One process reads the source and hands its blocks to workers. A worker parses `BLOCKS_PER_SHARD`
blocks into one parsed table (`discovery.crawl.parsed`); `SHARDS_PER_FILE` of these tables are then
merged into one file, sorted as the snapshot stage reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path

import pyarrow as pa

from discovery.crawl.parsed import count_parsed, merge_parsed, parsed_table, read_parsed
from discovery.sources import BulkConfig, make_bulk_source
from discovery.sources.blocks import Block
from discovery.sources.observation import Skip
from infra.errors import SourceError
from infra.execution.garbage import no_collection
from infra.execution.runner import Runner
from infra.storage.stage_dir import Shard, StageDir

PARSED = "parsed"
"""Directory of the merged tables within the crawl's output."""
BLOCKS_PER_SHARD = 4
"""Blocks that a worker parses into one table."""
SHARDS_PER_FILE = 32
"""Parsed tables that are merged into one file."""


@dataclass
class BulkRead:
    """What was skipped while bulk sources were read, and how much was read."""

    skips: list[Skip] = field(default_factory=list)
    """Pieces of data that could not be used."""
    num_lines: int = 0
    """Lines read."""
    num_bytes: int = 0
    """Bytes read, after decompression."""


def read_bulk(
    config: BulkConfig,
    as_of: date,
    into: BulkRead,
    *,
    out: StageDir,
    runner: Runner,
    base_dir: Path,
) -> None:
    """Parse a source into the files `parsed/NAME-NNNNN.parquet` of `out`, and add to the counts and
    skips of `into`.

    After an interruption, blocks that were already parsed are read but not parsed again. Relative
    paths of the config are below `base_dir`. Raises SourceError where the source cannot be read.
    """

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
    rows, _ = read_parsed(files, "skip")
    skips = [Skip(**row) for row in rows.to_pylist()]
    into.skips += skips
    read_nothing = all(count_parsed(files, kind, 1).sum() == 0 for kind in ("fact", "entity"))
    if read_nothing and skips and all(skip.damage for skip in skips):
        raise SourceError(
            f"source {config.name}: nothing in it can be read: {skips[0].reason}, "
            f"{skips[0].count:,} times ({skips[0].sample[:80]!r}). Check that `path` leads to a "
            f"file of the kind {config.kind}."
        )


@dataclass(frozen=True)
class _Read:
    """Builds, in the worker process, the function that parses the blocks of one shard."""

    config: BulkConfig

    def __call__(self) -> Callable[[tuple[Block, ...]], pa.Table]:
        source = make_bulk_source(self.config)

        def run(blocks: tuple[Block, ...]) -> pa.Table:
            with no_collection():
                return parsed_table((source.read(block), False) for block in blocks)

        return run


def _merge() -> Callable[[list[Path]], pa.Table]:
    return merge_parsed
