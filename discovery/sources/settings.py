"""The settings that all kinds of sources have; the base classes of their config classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from discovery.sources.observation import Coverage
from infra.files.digest import digest_of
from infra.http.fetch import MAX_WAIT_S
from infra.http.limits.robots import MAX_DELAY_S
from infra.secrets.settings import SecretSettings
from infra.storage.names import check_name

REPLAY = "replay:"
"""Prefix of the directory of a recording, where a setting is an address otherwise."""
OWN_TRUST, PUBLIC_TRUST = 1.0, 0.5
"""Base trust of a team's own sources, and of sources that the public can write."""
POLITENESS = frozenset({"contact", "min_interval_s"})
"""Settings of how a source is asked. They do not change what it says."""


class SourceSettings(SecretSettings):
    """Settings of a source. A kind with other class variables sets them on its own class."""

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

    renamed: ClassVar[frozenset[str]] = frozenset()
    """Settings that may be others for each copy of one source, such as the name of a file."""

    name: str
    """Name of the source in facts, files and errors (`infra.storage.names`)."""

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        return check_name(name, "source")

    @property
    def source_id(self) -> str:
        """Digest of the settings that decide what the source says: its kind, address, query,
        columns, filters. With another one it is another source, though it has the same name."""
        return digest_of(self.identity(without={*POLITENESS, *self.renamed}))

    def says_the_same(self, recorded: Mapping[str, Any]) -> bool:
        """Whether recorded settings are the same as these, in all that decides what the source
        says, the name of a file included.

        recorded  as the record of an output has them: JSON values
        """
        kept = {name: value for name, value in recorded.items() if name not in POLITENESS}
        return kept == self.model_dump(mode="json", exclude={*POLITENESS})

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
    does not change what is read, so no record holds it."""
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
