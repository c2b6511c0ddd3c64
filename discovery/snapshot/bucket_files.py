"""The files of a snapshot's buckets: which are written anew, by which tasks, and which are those of
the earlier snapshot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from discovery.crawl.parsed import count_parsed
from discovery.facts.hashing import bucket_of, hash_of, hash_range
from discovery.snapshot.buckets import MADE_SCHEMA, MakeEntities, MakeFacts
from discovery.snapshot.coverage import Replaced
from discovery.snapshot.merge import merge_mentions
from discovery.snapshot.output import Snapshot, bucket_file
from discovery.snapshot.wave import Vanished
from infra.execution.runner import Runner
from infra.files.digest import table_digest
from infra.storage.stage_dir import Shard, StageDir

ROWS_PER_TASK = 100_000
"""Neighbouring buckets of together about so many rows are one task."""
MENTIONS = "mentions.parquet"
"""Temporary file of all mentions, read while the entities are written."""
KINDS = {"facts": ("facts", "groups", "mentions"), "entities": ("parts", "entities")}
"""Kind of task -> the kinds of files that it writes for each bucket."""


@dataclass(frozen=True)
class BucketFiles:
    """Writes the files of all buckets of a snapshot, which continues an earlier one or begins with
    nothing."""

    previous: Snapshot | None
    """The earlier snapshot; None where there is none."""
    before: dict[str, Any] | None
    """Its manifest."""
    num_buckets: int
    parsed: list[Path]
    """Files of the parsed tables of the crawl (`discovery.crawl.parsed`)."""
    replaced: Replaced
    """The rows of the earlier snapshot that the crawl replaces."""
    out: StageDir
    runner: Runner
    vanished: Vanished = field(default_factory=Vanished)
    """What is gone of each source; `facts` fills it."""

    def facts(self) -> dict[str, Any]:
        """Write the files of facts, groups and mentions, or take over the earlier ones.

        Returns file name -> its number of rows, digest, and rows by source.
        """
        found = count_parsed(self.parsed, "fact", self.num_buckets)
        touched = (found > 0) | self._replaced_in(
            "facts", (*self.replaced.statements, *self.replaced.entries)
        )
        worker = MakeFacts(**self._common)
        return self._make("facts", worker, touched, found)

    def entities(self, order: Sequence[str], mentions: list[str]) -> dict[str, Any]:
        """Write the files of parts and entities, or take over the earlier ones.

        order     names of the sources, the first with a label naming an entity
        mentions  digests of the mentioned ids by bucket, as `mentions` returns them

        Returns file name -> its number of rows, digest, and rows by source.
        """
        found = count_parsed(self.parsed, "entity", self.num_buckets)
        touched = (found > 0) | self._replaced_in("parts", ())
        if self.before:
            touched |= np.array(mentions) != np.array(self.before["mentions"])
        worker = MakeEntities(
            **self._common,
            order={name: n for n, name in enumerate(order)},
            mentions=self.out.path / MENTIONS,
        )
        made = self._make("entities", worker, touched, found)
        (self.out.path / MENTIONS).unlink()
        return made

    def mentions(self, files: dict[str, Any]) -> list[str]:
        """Write the temporary file of all mentions, sorted by hash, which `entities` reads.

        Returns for each bucket the digest of the mentioned ids that fall into it. Where it differs
        from the earlier snapshot's, the bucket's entities are written anew.
        """
        names = [bucket_file("mentions", n) for n in range(self.num_buckets)]
        table = merge_mentions(pq.read_table(self.out.path / name) for name in names)
        self.out.write_table(MENTIONS, table)
        hashes = table["hash"].to_numpy()
        bounds = [hash_range(n, n, self.num_buckets)[0] for n in range(self.num_buckets)]
        cuts = [*np.searchsorted(hashes, bounds).tolist(), len(hashes)]
        return [table_digest(table.slice(a, b - a)) for a, b in pairwise(cuts)]

    @property
    def _common(self) -> dict[str, Any]:
        """The fields that the workers of both kinds of task have."""
        return {
            "out": self.out.path,
            "previous": self.previous.path if self.previous else None,
            "day": self.previous.day if self.previous else None,
            "parsed": self.parsed,
            "num_buckets": self.num_buckets,
            "replaced": self.replaced,
        }

    def _replaced_in(self, kind: str, statements: Any) -> np.ndarray:
        """Whether each bucket has rows of the earlier snapshot that may be replaced. Shape
        [num_buckets], booleans.

        kind        kind of file that is looked at
        statements  sources whose statements or entries are replaced, in whichever bucket they are
        """
        touched = np.full(self.num_buckets, self.before is None)
        for n in range(self.num_buckets if self.before else 0):
            assert self.before is not None
            held = self.before["files"][bucket_file(kind, n)]["sources"].keys()
            touched[n] = bool(held & self.replaced.whole) or bool(held & set(statements))
        for keys in self.replaced.subjects.values():
            for key in keys.to_pylist():
                touched[bucket_of(hash_of(key), self.num_buckets)] = True
        return touched

    def _make(
        self, kind: str, worker: Any, touched: np.ndarray, found: np.ndarray
    ) -> dict[str, Any]:
        """Write the files of the touched buckets and take over those of the others.

        kind     a key of `KINDS`
        worker   writes the files of neighbouring buckets
        touched  whether each bucket is written anew. Shape [num_buckets]
        found    number of parsed rows of each bucket. Shape [num_buckets]

        Returns file name -> its number of rows, digest, and rows by source.
        """
        files: dict[str, Any] = {}
        rows = found.copy()
        for n in range(self.num_buckets if self.before else 0):
            assert self.before is not None and self.previous is not None
            names = [bucket_file(name, n) for name in KINDS[kind]]
            rows[n] += self.before["files"][names[0]]["rows"]
            for name in names if not touched[n] else ():
                files[name] = self.before["files"][name]
                self.out.reuse(self.previous.path, name, digest=files[name]["digest"])
        shards = [Shard(f"{kind}-{a:05d}-{b:05d}", (a, b)) for a, b in _spans(touched, rows)]
        for path in self.out.map_tables(self.runner, worker, shards, phase=kind):
            for row in pq.read_table(path, schema=MADE_SCHEMA).to_pylist():
                name = row.pop("name")
                self.vanished.add(json.loads(row.pop("vanished")))
                files[name] = {**row, "sources": json.loads(row["sources"])}
                self.out.digests[name] = row["digest"]
        return files


def _spans(touched: np.ndarray, rows: np.ndarray) -> list[tuple[int, int]]:
    """First and last bucket of each task: neighbouring touched buckets, of at most
    `ROWS_PER_TASK` rows unless a single bucket has more."""
    spans: list[tuple[int, int]] = []
    held = 0
    for n in np.flatnonzero(touched).tolist():
        if spans and spans[-1][1] == n - 1 and held + rows[n] <= ROWS_PER_TASK:
            spans[-1] = (spans[-1][0], n)
            held += rows[n]
        else:
            spans.append((n, n))
            held = rows[n]
    return spans
