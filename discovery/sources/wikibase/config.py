"""Settings of a Wikibase source: where it is, what of it is watched, and how gently it is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from discovery.sources.settings import REPLAY, NetworkSettings

ITEM_ID, PROPERTY_ID = re.compile(r"Q[1-9]\d{0,14}"), re.compile(r"P[1-9]\d{0,14}")


class WikidataConfig(NetworkSettings):
    """Settings of a Wikibase source."""

    obeys_robots: ClassVar[bool] = False

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
    """Property ids that are read; None is all."""

    @field_validator("entities", "relations")
    @classmethod
    def _ids(cls, ids: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        """One malformed id makes the API refuse the whole batch, so it is found here."""
        kind, pattern = (
            ("item", ITEM_ID) if info.field_name == "entities" else ("property", PROPERTY_ID)
        )
        for key in ids or ():
            if not pattern.fullmatch(key):
                example = "Q42" if kind == "item" else "P31"
                raise ValueError(f"{key!r} is no {kind} id such as {example}")
        return ids

    @field_validator("endpoint")
    @classmethod
    def _origin(cls, endpoint: str) -> str:
        return endpoint.rstrip("/")

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
