"""Settings of a source of feeds and pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from discovery.extractors.triple import ExtractorConfig
from discovery.sources.settings import NetworkSettings
from discovery.sources.web.items import is_web
from infra.secrets.masks import SettingKind


class FeedConfig(NetworkSettings):
    """Settings of a source of feeds and pages."""

    base_trust: ClassVar[float] = 0.0
    quarantined: ClassVar[bool] = True

    may_hold_secrets: ClassVar[Mapping[str, SettingKind]] = {
        "feeds": "address",
        "pages": "address",
    }

    kind: Literal["feed"] = "feed"
    feeds: tuple[str, ...] = ()
    """URLs of feeds: RSS, Atom or JSON Feed."""
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
    def origin(self) -> str:
        """The site of the first address, without user info."""
        parts = urlsplit((*self.feeds, *self.pages)[0])
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def local_paths(self, base_dir: Path) -> list[Path]:
        """The file of further relations, if there is one."""
        return [base_dir / self.templates] if self.templates else []
