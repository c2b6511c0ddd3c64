"""Look at everything that can be known before a run, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from discovery.crawl.access import Access, serve_recordings
from discovery.relations.relation import load_relations
from infra.http.limits.rate_limit import LocalRateLimit
from infra.settings import faults, read_toml
from infra.storage.workspace import Workspace
from pipeline.check.cluster import ClusterCheck, check_cluster
from pipeline.check.duration import DurationCheck, check_duration
from pipeline.check.editions import EditionsCheck, check_editions, next_day
from pipeline.check.machine import MachineCheck, check_machine
from pipeline.check.model import ModelCheck, check_model
from pipeline.check.source import SourceCheck, check_source
from pipeline.config import Config, load_config

EDITED_SHARE = 3
"""Where the config names no layers, an editor keeps statistics of at most one layer in so many."""

Part = SourceCheck | ModelCheck | ClusterCheck | EditionsCheck | MachineCheck | DurationCheck
"""What is known of one thing; `stops` says what of it would stop a run."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The settings that are checked, and where a run with them would work."""

    config: Config
    config_dir: Path
    """Directory of the config file."""
    workspace: Workspace
    address: str
    """As of `--ray-address`."""


def faults_of_settings(path: Path) -> list[str]:
    """All that is wrong with the settings of a file, a line each. Raises ConfigError for a file
    that cannot be read."""
    raw = read_toml(path)
    found = faults(Config, raw)
    if not found:
        load_config(path)  # settings of the editor and the tasks, which are checked one by one
    return found


def check(given: Checked) -> Iterator[Part]:
    """Yield what is known of each source, of the model, and of the rest, as soon as it is known.

    Nothing is written but caches, and no Ray is started. What would stop a run is no error here,
    but stands in the part. Raises ConfigError for a relations file that cannot be used.
    """
    config, place = given.config, given.workspace
    extra = config.relations and given.config_dir / config.relations
    relations = load_relations(extra or None)
    sources: list[SourceCheck] = []
    with ExitStack() as stack:
        access = Access(
            LocalRateLimit(),
            serve_recordings(config.sources, given.config_dir, stack),
            place.root / "cache" / "http",
            given.config_dir,
        )
        as_of = next_day(config, place)
        for source in config.sources:
            sources.append(
                check_source(source, as_of, trust=config.trust, relations=relations, access=access)
            )
            yield sources[-1]
    model = check_model(config, place.root / "cache")
    yield model
    cluster = check_cluster(
        given.address,
        config.model.compute.resources,
        edit_needs=config.edit.resources(config.model.device),
        edit_group=config.edit.workers if config.edit.in_group else 0,
    )
    yield cluster
    contents = [source.content for source in sources]
    whole = [content.num_facts for content in contents if content and content.whole]
    editions = check_editions(config, place, whole if len(whole) == len(contents) else None)
    yield editions
    layers = config.edit.options.get("layers") or range((model.num_layers or 0) // EDITED_SHARE)
    yield check_machine(
        model,
        workspace=place.root,
        sources=config.sources,
        base_dir=given.config_dir,
        compute=config.model.compute,
        num_releases=sum(not edition.released for edition in editions.editions),
        workers=cluster.workers,
        num_edited_layers=len(layers),
    )
    duration = check_duration(
        editions.editions,
        sources,
        workspace=place,
        tokens_s=model.tokens_s,
        workers=cluster.workers,
    )
    if duration is not None:
        yield duration
