"""Settings of a Wikibase as a source, over its API or a dump: where it is, and what is read."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from discovery.sources.blocks import MAX_LINE_BYTES
from discovery.sources.observation import Coverage
from discovery.sources.settings import REPLAY, NetworkSettings, SourceSettings
from discovery.sources.wikibase.numbering import (
    ITEM_ID,
    PROPERTY_ID,
    Numbering,
    Properties,
    numbering_of,
    unnamed,
)
from infra.secrets.masks import SettingKind
from infra.secrets.references import without_login

HOST = "wikidata.org"
"""Wikidata's host, also behind `www.`."""


class WikidataConfig(NetworkSettings):
    """Settings of a Wikibase source."""

    obeys_robots: ClassVar[bool] = False
    may_hold_secrets: ClassVar[Mapping[str, SettingKind]] = {
        "endpoint": "address",
        "query": "query",
        "query_endpoint": "address",
        "stream": "address",
    }

    kind: Literal["wikidata"] = "wikidata"
    endpoint: str = Field(default="https://www.wikidata.org", pattern=r"^(https?://|replay:)\S+$")
    """Origin of the site, or `replay:DIRECTORY` for a recording below the config file."""
    entities: tuple[str, ...] = ()
    """Item ids to keep current."""
    query: str | None = None
    """SPARQL that selects further items, by the variable `item`; asked once an edition."""
    query_endpoint: str = Field(
        default="https://query.wikidata.org/sparql", pattern=r"^(https?://|replay:)\S+$"
    )
    stream: str | None = Field(default=None, pattern=r"^(https?://|replay:)\S+$")
    """EventStreams address, `https://stream.wikimedia.org/v2/stream/recentchange`: changes are then
    heard of, and the sweep is kept for what was not."""
    wiki: str = "wikidatawiki"
    """The wiki whose events count."""
    relations: tuple[str, ...] | None = None
    """Property ids that are read, as the Wikibase has them; None is all."""
    properties: Properties | None = None
    """The properties of a Wikibase that numbers them itself (`PropertyNames`), as all but Wikidata
    do; `wikidata` for a copy of Wikidata. Unset, the endpoint must be Wikidata's, or a site on this
    machine that says it is a copy."""

    @field_validator("entities", "relations")
    @classmethod
    def _ids(cls, ids: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        """One malformed id makes the API refuse the whole batch, so it is found here."""
        return _checked(ids, info.field_name)

    @field_validator("endpoint")
    @classmethod
    def _origin(cls, endpoint: str) -> str:
        return endpoint.rstrip("/")

    @property
    def numbering(self) -> Numbering:
        """How the ids of this Wikibase are known in facts."""
        return numbering_of(self.properties)

    @property
    def needs_proof(self) -> bool:
        """Whether only the site itself can say that it numbers its properties as Wikidata does."""
        return self.properties is None and not self.on_wikidata

    @property
    def on_wikidata(self) -> bool:
        """Whether the endpoint is Wikidata itself, or a recording of it."""
        return self.endpoint.startswith(REPLAY) or f".{self._host}".endswith(f".{HOST}")

    @property
    def _host(self) -> str:
        """Name of the endpoint's host; empty for a recording."""
        return urlsplit(without_login(self.endpoint)).hostname or ""

    @property
    def origin(self) -> str:
        """The site, or the recording, of the API."""
        return self.endpoint

    def local_paths(self, base_dir: Path) -> list[Path] | None:
        """The files of a recording; None of a site."""
        if not self.endpoint.startswith(REPLAY):
            return None
        return sorted((base_dir / self.endpoint.removeprefix(REPLAY)).glob("*.json*"))

    @model_validator(mode="after")
    def _watched(self) -> WikidataConfig:
        if not self.entities and self.query is None:
            raise ValueError("give entities, or a query that selects them")
        return self

    @model_validator(mode="after")
    def _numbered(self) -> WikidataConfig:
        """A Wikibase elsewhere is refused at once, unless it may be a copy on this machine."""
        if self.needs_proof and not _on_this_machine(self._host):
            raise ValueError(unnamed(f"{self.endpoint} is not Wikidata"))
        return self


class DumpConfig(SourceSettings):
    """Settings of a dump."""

    if_damaged: ClassVar[Coverage] = "subject"

    renamed: ClassVar[frozenset[str]] = frozenset({"path"})

    kind: Literal["dump"] = "dump"
    path: str
    """File, relative to the config file: JSON, plain or packed with gzip, bzip2 or Zstandard."""
    relations: tuple[str, ...] | None = None
    """Property ids that are read, as the Wikibase has them; None is all."""
    properties: Properties | None = None
    """The properties of a Wikibase that numbers them itself (`PropertyNames`), as all but Wikidata
    do; `wikidata` for a copy of Wikidata. Unset, the dump is taken for Wikidata's, and refused
    where one of its own properties shows that it is not."""
    entities: tuple[str, ...] | None = None
    """Items whose facts are read; None is all."""
    names: Literal["all", "facts"] = "all"
    """Whose names are read: of all items, so that the objects of facts are called something; or of
    items with facts alone, which is faster, where another source names the objects."""
    max_line_bytes: int = Field(default=MAX_LINE_BYTES, ge=1)
    """A longer line is passed over and counted."""

    def local_paths(self, base_dir: Path) -> list[Path]:
        """The one file."""
        return [base_dir / self.path]

    @field_validator("entities", "relations")
    @classmethod
    def _ids(cls, ids: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        return _checked(ids, info.field_name)


def _checked(ids: tuple[str, ...] | None, setting: str | None) -> tuple[str, ...] | None:
    """The ids of a setting: of items in `entities`, else of properties. Raises ValueError."""
    items = setting == "entities"
    kind, example = ("item", "Q42") if items else ("property", "P31")
    for key in ids or ():
        if not (ITEM_ID if items else PROPERTY_ID).fullmatch(key):
            raise ValueError(f"{key!r} is no {kind} id such as {example}")
    return ids


def _on_this_machine(host: str) -> bool:
    """Whether a host name or address is a loopback one."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
