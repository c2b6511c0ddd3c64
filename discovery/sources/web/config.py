"""Settings of a source of feeds and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from discovery.extractors.triple import ExtractorConfig
from discovery.sources.web.items import is_web


class FeedConfig(BaseModel):
    """Settings of a source of feeds and pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["feed"] = "feed"
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    """Names the source in facts and errors."""
    feeds: tuple[str, ...] = ()
    """URLs of RSS or Atom feeds."""
    pages: tuple[str, ...] = ()
    """URLs of HTML pages."""
    follow: bool = False
    """Whether an entry's page is read, and not only what the feed says of it; only on hosts that
    `feeds`, `pages` or `hosts` name."""
    hosts: tuple[str, ...] = ()
    """Further hosts to which entries may be followed."""
    relations: tuple[str, ...] = Field(min_length=1)
    """Ids of the relations that are looked for."""
    templates: str | None = None
    """File of further relations, relative to the config file."""
    extractor: ExtractorConfig = ExtractorConfig()
    contact: str | None = None
    """URL or e-mail of the operator, sent with every request; required by the client."""
    min_interval_s: float = Field(default=1.0, ge=0)
    """Seconds between two requests to one host."""

    @field_validator("feeds", "pages")
    @classmethod
    def _web(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not is_web(url):
                raise ValueError(f"{url!r} is no http or https address")
        return urls

    @model_validator(mode="after")
    def _some(self) -> FeedConfig:
        if not self.feeds and not self.pages:
            raise ValueError("give `feeds` or `pages`")
        return self

    @property
    def endpoint(self) -> str:
        """Origin of the first address."""
        parts = urlsplit((*self.feeds, *self.pages)[0])
        return f"{parts.scheme}://{parts.netloc}"

    def local_paths(self, base_dir: Path) -> list[Path]:
        """The files whose content a crawl is known by."""
        return [base_dir / self.templates] if self.templates else []
