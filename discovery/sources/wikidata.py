"""Wikidata, or any Wikibase: entities as they stood at the end of a day.

What changed is found by a sweep of the last revisions (`prop=info|revisions`, fifty titles a call),
or, where a stream is named, by its events. Of what changed, entities whose last edit is not
after the day are fetched fifty at a time; of the others the last revision of the day is looked up
(`prop=revisions`) and its JSON fetched pinned to it (`Special:EntityData`). The labels of
everything they point to are asked in batches too; labels are today's, for the API has no older ones
without a request for each. The JSON itself is read by `discovery.sources.wikibase_json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from discovery.fact import Entity
from discovery.sources.observation import (
    Coverage,
    Observation,
    Parsed,
    Partition,
    Signal,
    Since,
    Skip,
)
from discovery.sources.recent_changes import follow
from discovery.sources.sparql import select_items
from discovery.sources.wikibase_json import (
    find_entity,
    parse_entity,
    parse_labels,
    referenced_items,
)
from discovery.sources.wikidata_config import WikidataConfig
from infra.errors import AnswerError, SourceError
from infra.http import PoliteClient
from infra.pages import Page

BATCH = 50
"""Ids in one call, the limit without `apihighlimits`."""
PARTITION = 10 * BATCH
"""Entities in one partition: few enough that it is no loss to fetch them again, and so many that
those which have changed fill a call."""
PROPS = "info|claims|labels|aliases|sitelinks"
UNREADABLE = "entity is unreadable"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a page, as the API lists it."""

    number: int
    time: str
    """ISO 8601 UTC."""
    user: str | None

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> Revision:
        """Raises KeyError, TypeError or ValueError where it is not one."""
        return cls(int(listed["revid"]), str(listed["timestamp"]), listed.get("user"))

    @property
    def stamp(self) -> dict[str, Any]:
        """What an observation says of it."""
        return {"revision": self.number, "revision_time": self.time, "user": self.user}


class WikidataSource:
    """Partitions of entities, their observations, and what those say."""

    coverage: Coverage = "subject"

    def __init__(self, config: WikidataConfig, base_dir: Path = Path()) -> None:
        self.config, self.name = config, config.name
        self.endpoint: str | None = config.endpoint

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        """What the query selects, in a slice of its own, then the stream."""
        assert client is not None
        config, state = self.config, dict(cursor or {})
        if config.query is not None and state.get("selected_for") != as_of.isoformat():
            selected, skips = select_items(client, config.query_endpoint, config.query, self.name)
            state["selected_for"] = as_of.isoformat()
            alone = config.stream is None
            return Signal(selected=selected, cursor=state, done=alone, skips=skips)
        if config.stream is None:
            return None
        return follow(client, config.stream, config.wiki, state, as_of, self.name)

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        """Of all that is watched, what may have changed; what was never fetched always may."""
        heard = signals or ()
        watched = {*self.config.entities, *since.revisions}
        watched.update(key for signal in heard for key in signal.selected)
        told = self.config.stream is not None and not any(signal.gap for signal in heard)
        if told and "at" in (since.cursor or {}):
            changed = {key for signal in heard for key in signal.subjects}
            watched = {key for key in watched if key in changed or key not in since.revisions}
        entities = sorted(watched, key=lambda key: int(key[1:]))
        return [
            Partition(
                id=f"{n:05d}",
                as_of=as_of,
                keys=tuple(batch),
                known=tuple(since.revisions.get(key) for key in batch),
            )
            for n, batch in enumerate(_batches(entities, PARTITION))
        ]

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """Each changed entity's observation, then those of the labels. Raises SourceError."""
        assert client is not None
        known = dict(zip(partition.keys, partition.known, strict=True))
        wanted: set[str] = set()
        for observation in self._entities(partition, known, client):
            if observation.kind == "entity" and not observation.absent:
                wanted |= referenced_items(self._decode(observation), self.config.relations)
            yield observation
        for batch in _batches(sorted(wanted)):
            url, params = f"{self.endpoint}/w/api.php", _label_params(batch)
            _, page = client.api(url, params)
            yield self._observe(partition, "labels", "|".join(batch), page, payload=page.body)

    def parse(self, observation: Observation) -> Parsed:
        """Facts and entities of one observation; pure."""
        if observation.absent:
            skip = Skip(self.name, observation.absent, observation.about)
            return Parsed(skips=(skip,))
        if observation.kind == "labels":
            return parse_labels(json.loads(observation.payload), self.name)
        if observation.kind == "redirect":
            target = json.loads(observation.payload)["redirect"]
            merged = Entity(id=observation.about, label=None, redirect=target, source=self.name)
            return Parsed(entities=(merged,))
        entity = self._decode(observation)
        return parse_entity(entity, self.name, self.config.relations)

    def _entities(
        self, partition: Partition, known: Mapping[str, int | None], client: PoliteClient
    ) -> Iterator[Observation]:
        """What a sweep shows to be new: absent entities, then whole batches, then those that were
        edited after the day."""
        whole: dict[str, Revision] = {}
        pinned: list[str] = []
        for batch in _batches(partition.keys):
            for key, revision, page in self._sweep(batch, client):
                if revision is None:
                    yield self._observe(partition, "entity", key, page, absent="no such entity")
                elif revision.number != known[key]:
                    if revision.time <= _end(partition):
                        whole[key] = revision
                    else:
                        pinned.append(key)
        for batch in _batches(list(whole)):
            for observation in self._whole(partition, {key: whole[key] for key in batch}, client):
                if observation is None:
                    continue
                yield observation
                if observation.kind == "redirect":
                    pinned.append(json.loads(observation.payload)["redirect"])
        for key in dict.fromkeys(pinned):
            found = self._pinned(partition, key, known.get(key), client)
            if found is not None:
                yield found

    def _sweep(
        self, keys: Sequence[str], client: PoliteClient
    ) -> Iterator[tuple[str, Revision | None, Page]]:
        """The last revision of each page; None where there is no page."""
        answer, page = client.api(
            f"{self.endpoint}/w/api.php",
            {
                "action": "query",
                "prop": "info|revisions",
                "titles": "|".join(keys),
                "rvprop": "ids|timestamp|user",
            },
        )
        found = {str(about.get("title")): about for about in self._pages(answer, page)}
        for key in keys:
            last = found.get(key, {}).get("revisions")
            yield key, Revision.of(last[0]) if last else None, page

    def _whole(
        self, partition: Partition, swept: Mapping[str, Revision], client: PoliteClient
    ) -> Iterator[Observation | None]:
        """Entities as they are now, in one answer; by halves where that cannot be read, so that one
        entity does not cost the others."""
        url, keys = f"{self.endpoint}/w/api.php", list(swept)
        params = {"action": "wbgetentities", "props": PROPS, "languages": "en"}
        try:
            value, page = client.api(url, {**params, "ids": "|".join(keys)})
            found = value["entities"]
        except (AnswerError, KeyError, TypeError):
            for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
                if len(keys) > 1:
                    yield from self._whole(partition, {key: swept[key] for key in half}, client)
            if len(keys) == 1:
                page = Page.unread(url)
                yield self._observe(partition, "fault", keys[0], page, absent=UNREADABLE)
            return
        for key, revision in swept.items():
            yield self._one(partition, key, revision, found.get(key, {"missing": ""}), page, client)

    def _one(
        self,
        partition: Partition,
        key: str,
        revision: Revision,
        entity: Mapping[str, Any],
        page: Page,
        client: PoliteClient,
    ) -> Observation | None:
        """One entity of an answer, which may have been edited since the sweep."""
        if "missing" in entity:
            return self._observe(partition, "entity", key, page, absent="no such entity")
        if entity.get("id") != key:
            payload = json.dumps({"redirect": entity.get("id")}).encode()
            return self._observe(partition, "redirect", key, page, payload, **revision.stamp)
        if entity.get("lastrevid") != revision.number:
            return self._pinned(partition, key, None, client)
        payload = json.dumps(entity, ensure_ascii=False, separators=(",", ":")).encode()
        return self._observe(partition, "entity", key, page, payload, **revision.stamp)

    def _pinned(
        self, partition: Partition, key: str, known: int | None, client: PoliteClient
    ) -> Observation | None:
        """The entity at the last revision of the day, or that there is none; None where it is the
        known one."""
        answer, page = client.api(
            f"{self.endpoint}/w/api.php",
            {
                "action": "query",
                "prop": "revisions",
                "titles": key,
                "rvprop": "ids|timestamp|user",
                "rvlimit": 1,
                "rvdir": "older",
                "rvstart": _end(partition),
            },
        )
        (about,) = self._pages(answer, page) or ({"missing": True},)
        if not about.get("revisions"):
            reason = "no such entity" if "missing" in about else "no revision at that date"
            return self._observe(partition, "entity", key, page, absent=reason)
        revision = Revision.of(about["revisions"][0])
        if revision.number == known:
            return None
        url = f"{self.endpoint}/wiki/Special:EntityData/{key}.json"
        page = client.get(url, {"revision": revision.number}, allow=(404,))
        if page.status == 404:
            reason = "revision is not readable"
            return self._observe(partition, "fault", key, page, absent=reason)
        try:
            client.decode(page)
        except AnswerError:
            return self._observe(partition, "fault", key, page, absent=UNREADABLE)
        return self._observe(partition, "entity", key, page, page.body, **revision.stamp)

    def _pages(self, answer: Any, page: Page) -> Sequence[Mapping[str, Any]]:
        """The pages of a query's answer, each with its revisions in order. Raises SourceError."""
        try:
            pages = answer["query"]["pages"]
            for about in pages:
                for revision in about.get("revisions", ()):
                    Revision.of(revision)
            return pages
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(
                f"source {self.name}: {page.url} does not answer with revisions ({error!r}). "
                "Check that the endpoint is a MediaWiki with api.php below /w/."
            ) from error

    def _observe(
        self,
        partition: Partition,
        kind: Literal["entity", "redirect", "fault", "labels"],
        about: str,
        page: Page,
        payload: bytes = b"",
        **more: Any,
    ) -> Observation:
        return Observation(
            source=self.name,
            partition=partition.id,
            kind=kind,
            about=about,
            as_of=partition.as_of.isoformat(),
            url=page.url,
            payload=payload,
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
        stamp = {
            "lastrevid": observation.revision,
            "modified": observation.revision_time,
            "user": observation.user,
        }
        return {**entity, **{name: value for name, value in stamp.items() if value}}


def _label_params(ids: Sequence[str]) -> dict[str, str]:
    return {
        "action": "wbgetentities",
        "ids": "|".join(ids),
        "props": "labels|aliases",
        "languages": "en",
    }


def _batches(ids: Sequence[str], size: int = BATCH) -> Iterator[Sequence[str]]:
    for n in range(0, len(ids), size):
        yield ids[n : n + size]


def _end(partition: Partition) -> str:
    """The last second of the day, as MediaWiki writes it."""
    return f"{partition.as_of.isoformat()}T23:59:59Z"
