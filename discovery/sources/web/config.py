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
from infra.errors import AddressError
from infra.http.addresses import origin_of
from infra.secrets.masks import SettingKind
from infra.secrets.references import without_login

MAX_ENTRIES = 20_000
"""Entries of one feed that are read, unless the config says otherwise. A cursor holds as many."""


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
    """Further hosts to which entries may be followed: `NAME` or, for another port than those of
    http and https in a private network, `NAME:PORT`."""
    max_entries: int = Field(default=MAX_ENTRIES, ge=1, exclude_if=lambda n: n == MAX_ENTRIES)
    """Entries of one feed that are read: its first. That there are more is counted as a skip."""
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

    @field_validator("hosts")
    @classmethod
    def _host(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            try:
                named = "/" not in host and origin_of(f"http://{host}")
            except AddressError:
                named = False
            if not named:
                raise ValueError(f"{host!r} is no host. Give NAME or NAME:PORT")
        return hosts

    @model_validator(mode="after")
    def _some(self) -> FeedConfig:
        if not self.feeds and not self.pages:
            raise ValueError("give `feeds` or `pages`")
        return self

    @property
    def origin(self) -> str:
        """The site of the first address, without user info."""
        parts = urlsplit(without_login((*self.feeds, *self.pages)[0]))
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def configured(self) -> tuple[str, ...]:
        """Feeds and pages without user info, and further hosts by http and by https."""
        places = (f"{scheme}://{host}" for host in self.hosts for scheme in ("http", "https"))
        return (*map(without_login, (*self.feeds, *self.pages)), *places)

    def local_paths(self, base_dir: Path) -> list[Path]:
        """The file of further relations, if there is one."""
        return [base_dir / self.templates] if self.templates else []
