"""How a process reaches the sources: its HTTP client for each, and recordings served here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from discovery.sources import AskedConfig, SourceConfig
from discovery.sources.replay.server import ReplayServer
from discovery.sources.settings import REPLAY, NetworkSettings
from infra.http.client import PoliteClient
from infra.http.limits.rate_limit import RateLimit
from infra.http.private import PrivateAddresses
from infra.telemetry.tally import Tally
from infra.telemetry.waits import Waits

ANSWER_S = 65.0
"""Longest time, in seconds, that a client waits for an answer. Wikidata's query service itself
stops after 60."""
TRIES = 6
"""Tries of a request whose host is at fault."""


@dataclass(frozen=True)
class Access:
    """The values with which a process reaches the sources. Picklable if its rate limit is."""

    rate_limit: RateLimit
    origins: Mapping[str, str]
    """`replay:DIRECTORY` -> address of the server of that recording."""
    cache: Path
    """Directory of cached HTTP responses."""
    base_dir: Path
    """Directory of the config file."""
    waits: Waits = field(default_factory=Waits, kw_only=True)
    """Tells what is waited for."""
    tally: Tally | None = field(default=None, kw_only=True)
    """Counts the requests, except those to recordings; None counts nothing."""

    def client(
        self, config: AskedConfig, *, timeout_s: float = ANSWER_S, tries: int = TRIES
    ) -> PoliteClient | None:
        """The HTTP client for a source; None where the source is local.

        timeout_s  longest time, in seconds, that it waits for an answer
        tries      of a request whose host is at fault
        """
        if not isinstance(config, NetworkSettings):
            return None
        replayed = config.origin in self.origins
        return PoliteClient(
            source=config.name,
            contact=config.contact,
            rate_limit=self.rate_limit,
            cache=self.cache,
            min_interval_s=0.0 if replayed else config.min_interval_s,
            timeout_s=timeout_s,
            max_attempts=tries,
            max_wait_s=config.max_wait_s,
            max_crawl_delay_s=config.max_crawl_delay_s,
            waits=self.waits,
            tally=None if replayed else self.tally,
            configured=config.configured,
            origins=self.origins,
            addresses=PrivateAddresses(config.addresses, config.scrubber),
            robots=config.obeys_robots,
            cross_host=config.obeys_robots,
        )


def serve_recordings(
    sources: Sequence[SourceConfig], base_dir: Path, stack: ExitStack
) -> dict[str, str]:
    """Start a server for each recording, and return `replay:DIRECTORY` -> the server's address.

    The servers stop when `stack` is closed. Sources that share a recording share its server.
    """
    places = {config.origin for config in sources if isinstance(config, NetworkSettings)}
    return {
        place: stack.enter_context(ReplayServer(base_dir / place.removeprefix(REPLAY)))
        for place in sorted(place for place in places if place.startswith(REPLAY))
    }
