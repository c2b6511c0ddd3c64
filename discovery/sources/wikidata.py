"""Wikidata, or any Wikibase: entities as they stood at the end of a day.

For each entity the last revision of that day is looked up (`prop=revisions`), its JSON is fetched
pinned to that revision (`Special:EntityData`), and the labels of everything it points to are asked
in batches (`wbgetentities`). Labels are today's, for the API has no older ones without a request
for each. The JSON itself is read by `discovery.sources.wikibase_json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from discovery.sources.observation import (
    Coverage,
    Observation,
    Parsed,
    Partition,
    Signal,
    Since,
    Skip,
)
from discovery.sources.wikibase_json import (
    find_entity,
    parse_entity,
    parse_labels,
    referenced_items,
)
from infra.errors import SourceError
from infra.http import PoliteClient
from infra.pages import Page

ITEM_ID, PROPERTY_ID = re.compile(r"Q[1-9]\d{0,14}"), re.compile(r"P[1-9]\d{0,14}")
BATCH = 50
"""Ids in one `wbgetentities` call, the limit without `apihighlimits`; entities in one partition."""


class WikidataConfig(BaseModel):
    """Settings of a Wikibase source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["wikidata"] = "wikidata"
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    """Names the source in facts and errors."""
    endpoint: str = Field(default="https://www.wikidata.org", pattern=r"^(https?://|replay:)\S+$")
    """Origin of the site, or `replay:DIRECTORY` for a recording below the config file."""
    entities: tuple[str, ...]
    """Item ids to keep current."""
    relations: tuple[str, ...] | None = None
    """Property ids that are read; None is all."""
    contact: str | None = None
    """URL or e-mail of the operator, sent with every request; required by the client."""
    min_interval_s: float = Field(default=1.0, ge=0)
    """Seconds between two requests (Wikimedia robot policy); not applied to a recording."""

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


class WikidataSource:
    """Partitions of entities, their observations, and what those say."""

    coverage: Coverage = "subject"

    def __init__(self, config: WikidataConfig, base_dir: Path = Path()) -> None:
        self.config, self.name = config, config.name
        self.endpoint: str | None = config.endpoint

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        return None

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        entities = sorted(set(self.config.entities))
        return [
            Partition(id=f"{n // BATCH:05d}", as_of=as_of, keys=tuple(entities[n : n + BATCH]))
            for n in range(0, len(entities), BATCH)
        ]

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """Each entity's observation, then those of the labels. Raises SourceError."""
        assert client is not None
        wanted: set[str] = set()
        for key in partition.keys:
            observation = self._entity(partition, key, client)
            if not observation.absent:
                wanted |= referenced_items(self._decode(observation), self.config.relations)
            yield observation
        for batch in _batches(sorted(wanted)):
            url, params = f"{self.endpoint}/w/api.php", _label_params(batch)
            _, page = client.api(url, params)
            yield self._observe(partition, "labels", "|".join(batch), page)

    def parse(self, observation: Observation) -> Parsed:
        """Facts and entities of one observation; pure."""
        if observation.absent:
            skip = Skip(self.name, observation.absent, observation.about)
            return Parsed(skips=(skip,))
        if observation.kind == "labels":
            return parse_labels(json.loads(observation.payload), self.name)
        entity = self._decode(observation)
        return parse_entity(entity, self.name, self.config.relations)

    def _entity(self, partition: Partition, key: str, client: PoliteClient) -> Observation:
        """The entity at the last revision of the day, or the observation that there is none."""
        answer, page = client.api(
            f"{self.endpoint}/w/api.php",
            {
                "action": "query",
                "prop": "revisions",
                "titles": key,
                "rvprop": "ids|timestamp",
                "rvlimit": 1,
                "rvdir": "older",
                "rvstart": f"{partition.as_of.isoformat()}T23:59:59Z",
            },
        )
        try:
            (about,) = answer["query"]["pages"]
            revisions = about.get("revisions", [])
            number, when = (
                (int(revisions[0]["revid"]), str(revisions[0]["timestamp"]))
                if revisions
                else (None, None)
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(
                f"source {self.name}: {page.url} does not answer with revisions ({error!r}). "
                "Check that the endpoint is a MediaWiki with api.php below /w/."
            ) from error
        if number is None:
            reason = "no such entity" if "missing" in about else "no revision at that date"
            return self._observe(partition, "entity", key, page, absent=reason)
        url = f"{self.endpoint}/wiki/Special:EntityData/{key}.json"
        page = client.get(url, {"revision": number}, allow=(404,))
        if page.status == 404:
            return self._observe(partition, "entity", key, page, absent="revision is not readable")
        client.decode(page)
        return self._observe(partition, "entity", key, page, revision=number, revision_time=when)

    def _observe(
        self,
        partition: Partition,
        kind: Literal["entity", "labels"],
        about: str,
        page: Page,
        **more: Any,
    ) -> Observation:
        return Observation(
            source=self.name,
            partition=partition.id,
            kind=kind,
            about=about,
            as_of=partition.as_of.isoformat(),
            url=page.url,
            payload=b"" if more.get("absent") else page.body,
            etag=page.etag,
            fetched_at=page.fetched_at,
            **more,
        )

    def _decode(self, observation: Observation) -> Mapping[str, Any]:
        """The entity object of a payload, with the revision that was asked for."""
        entity = find_entity(json.loads(observation.payload), observation.about)
        if entity is None:
            raise SourceError(
                f"source {self.name}: {observation.url} holds no entity {observation.about}. "
                "Check that the endpoint serves Wikibase entity JSON."
            )
        revision = {"lastrevid": observation.revision, "modified": observation.revision_time}
        return {**entity, **{name: value for name, value in revision.items() if value}}


def _label_params(ids: Sequence[str]) -> dict[str, str]:
    return {
        "action": "wbgetentities",
        "ids": "|".join(ids),
        "props": "labels|aliases",
        "languages": "en",
    }


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for n in range(0, len(ids), BATCH):
        yield ids[n : n + BATCH]
