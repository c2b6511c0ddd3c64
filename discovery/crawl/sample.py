"""Read the beginning of a source as a crawl reads it: so little of it that it takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date

from discovery.crawl.access import Access
from discovery.sources import (
    AskedConfig,
    BulkConfig,
    SourceConfig,
    is_bulk,
    make_bulk_source,
    make_source,
)
from discovery.sources.blocks import Block
from discovery.sources.observation import (
    Parsed,
    Partition,
    Sample,
    Signal,
    Since,
    joined,
    tally,
)
from discovery.sources.settings import NetworkSettings
from discovery.sources.source import Source
from infra.http.client import PoliteClient

ANSWER_S = 20.0
"""Longest time, in seconds, that a sample waits for an answer. A crawl waits longer."""
PAUSE_S = 60.0
"""Longest pause, in seconds, that a host is granted for a sample."""
TRIES = 2
"""Tries of a request of a sample. A crawl is more patient."""
MAX_SLICES = 3
"""Slices of a source's changes, and partitions, that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What the beginning of a source holds, and what a crawl of all of it takes."""

    sample: Sample
    """What was read; its skips are counted by their reasons."""
    num_requests: int | None
    """Requests of a first crawl, at least; None for a source that is not asked over the network."""


def sample_source(config: SourceConfig, as_of: date, access: Access) -> Sampled:
    """Read the beginning of a source as a first crawl of a day would.

    A stream of changes is not followed. Raises SourceError where the source cannot be read, and
    ConfigError where its settings do not fit.
    """
    config = config.filled(f"source {config.name}")
    with config.scrubber.guarded():
        if is_bulk(config):
            found = _of_bulk(config, as_of, access)
        else:
            found = _of_asked(config, as_of, access)
    sample, parsed = found.sample, found.sample.parsed
    counted = replace(sample, parsed=replace(parsed, skips=tuple(tally(parsed.skips))))
    return replace(found, sample=counted)


def _of_bulk(config: BulkConfig, as_of: date, access: Access) -> Sampled:
    """The first block that has lines."""
    source = make_bulk_source(config, access.base_dir)
    read: list[Block] = []
    whole = True
    for block in source.blocks(as_of):
        if any(earlier.num_lines for earlier in read) and block.num_lines:
            whole = False
            break
        read.append(block)
    parsed = joined(source.read(block) for block in read)
    number = sum(block.num_lines for block in read)
    return Sampled(sample=Sample(parsed, number, "line", whole), num_requests=None)


def _of_asked(config: AskedConfig, as_of: date, access: Access) -> Sampled:
    """The beginning of the first partition that has anything."""
    if config.kind == "wikidata":
        config = config.model_copy(update={"stream": None})
    source = make_source(config, access.base_dir)
    client = access.client(_with_short_pauses(config), timeout_s=ANSWER_S, tries=TRIES)
    with client or nullcontext():
        signals = _signals(source, as_of, client)
        parts = source.partitions(as_of, Since(), signals)
        sample = _first(source, parts, client)
    said = [skip for signal in signals or () for skip in signal.skips]
    skipped = Parsed(skips=tuple(said))
    whole = sample.whole and (signals is None or signals[-1].done)
    return Sampled(
        sample=replace(sample, parsed=joined([sample.parsed, skipped]), whole=whole),
        num_requests=source.num_requests(parts),
    )


def _with_short_pauses(config: AskedConfig) -> AskedConfig:
    """The config, with hosts granted pauses of at most `PAUSE_S` where it is one of the network."""
    if not isinstance(config, NetworkSettings):
        return config
    return config.model_copy(update={"max_wait_s": min(PAUSE_S, config.max_wait_s)})


def _signals(source: Source, as_of: date, client: PoliteClient | None) -> list[Signal] | None:
    """The first slices of a source's changes; None where it cannot tell them."""
    signals: list[Signal] = []
    while len(signals) < MAX_SLICES and not (signals and signals[-1].done):
        signal = source.listen(as_of, signals[-1].cursor if signals else None, client)
        if signal is None:
            return None
        signals.append(signal)
    return signals


def _first(source: Source, parts: Sequence[Partition], client: PoliteClient | None) -> Sample:
    """The sample of the first partition that is not empty; an empty one where there is none."""
    sample = Sample(Parsed(), 0, "row", whole=True)
    for number, part in enumerate(parts[:MAX_SLICES], 1):
        sample = source.sample(part, client)
        if sample.number:
            return replace(sample, whole=sample.whole and number == len(parts))
    return sample
