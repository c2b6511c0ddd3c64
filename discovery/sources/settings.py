"""The settings that all kinds of sources have; the base classes of their config classes."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from discovery.sources.observation import Coverage
from infra.http.fetch import MAX_WAIT_S
from infra.http.robots import MAX_DELAY_S

REPLAY = "replay:"
"""Prefix of the directory of a recording, where a setting is an address otherwise."""
OWN_TRUST, PUBLIC_TRUST = 1.0, 0.5
"""Base trust of a team's own sources, and of sources that the public can write."""


class SourceSettings(BaseModel):
    """Settings of a source. A kind with other class variables sets them on its own class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_trust: ClassVar[float] = PUBLIC_TRUST
    """How far sources of this kind are trusted, 0 to 1, unless `[trust.sources]` has another value:
    1 for a team's own data (cool-down, quorum and revert risk do not apply), less for what the
    public can write."""
    quarantined: ClassVar[bool] = False
    """Whether each change from this kind of source waits for a person, as for facts that an
    extractor read in text."""

    if_damaged: ClassVar[Coverage] = "statement"
    """What a crawl replaces of a source that is read as a whole, where it is damaged: the facts of
    the subjects that were found, or single statements that were found again."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    """Name of the source in facts and errors."""

    def local_paths(self, base_dir: Path) -> list[Path] | None:
        """The local files that the source consists of, whose content is part of a crawl's
        fingerprint; None for a source that is not a set of local files, such as a service."""
        return None


class NetworkSettings(SourceSettings):
    """Settings of a source that is asked over the network."""

    obeys_robots: ClassVar[bool] = True
    """Whether the client obeys robots.txt and may follow links to other hosts, as it does for web
    pages. False for an API, which is asked only at configured addresses and has its own policy."""

    contact: str | None = None
    """URL or e-mail of the operator, sent with every request. The client raises ConfigError without
    it."""
    min_interval_s: float = Field(default=1.0, ge=0)
    """Seconds between two requests to one host. A recording is asked without a pause."""

    max_wait_s: float = Field(default=MAX_WAIT_S, gt=0, exclude=True)
    """Longest pause, in seconds, that a host is granted by `Retry-After`. Like the next setting it
    decides nothing of what is read, so no record holds it."""
    max_crawl_delay_s: float = Field(default=MAX_DELAY_S, gt=0, exclude=True)
    """Longest Crawl-delay of a robots.txt, in seconds, that is obeyed."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """Base URL of the site that is asked, or `replay:DIRECTORY` for a recording of one."""
        ...

    @property
    def configured(self) -> tuple[str, ...]:
        """URLs whose origins may be in a private network, also where a document links to them."""
        return ()
