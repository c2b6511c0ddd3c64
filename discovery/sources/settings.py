"""What the config class of every kind of source says, beside its own settings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

REPLAY = "replay:"
"""Before the directory of a recording, where an address could stand."""
OWN_TRUST, PUBLIC_TRUST = 1.0, 0.5


class SourceSettings(BaseModel):
    """Settings of a source. A kind that differs from what stands here says so on its class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_trust: ClassVar[float] = PUBLIC_TRUST
    """How far what it says is trusted, 0 to 1, where `[trust.sources]` says nothing: 1 for what
    a team fills itself (neither cool-down, quorum nor revert risk apply), less for what the public
    can write."""
    quarantined: ClassVar[bool] = False
    """Whether everything it says waits for a person: facts that an extractor has read in text."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    """Names the source in facts and errors."""

    def local_paths(self, base_dir: Path) -> list[Path] | None:
        """The files that it is read from, by whose content a crawl is known; None of a source that
        is known by what was observed in it, as any service that goes on."""
        return None


class NetworkSettings(SourceSettings):
    """Settings of a source that is asked over the network."""

    obeys_robots: ClassVar[bool] = True
    """Whether its client obeys robots.txt and may follow links to other hosts, as for pages; false
    for an API that is asked at configured addresses and has a policy of its own."""

    contact: str | None = None
    """URL or e-mail of the operator, sent with every request; required by the client."""
    min_interval_s: float = Field(default=1.0, ge=0)
    """Seconds between two requests to one host; not applied to a recording."""

    @property
    def origin(self) -> str:
        """The site that is asked, or `replay:DIRECTORY` for a recording of one."""
        raise NotImplementedError
