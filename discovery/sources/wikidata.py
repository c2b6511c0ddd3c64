"""Wikidata, or any Wikibase: entities as they stood at the end of a day.

What changed is found by a sweep of the revision numbers (`wbgetentities`, `props=info`, fifty ids a
call), or, where a stream is named, by its events. Of what changed, entities whose last edit is not
after the day are fetched fifty at a time; of the others the last revision of the day is looked up
(`prop=revisions`) and its JSON fetched pinned to it (`Special:EntityData`). The labels of
everything they point to are asked in batches too; labels are today's, for the API has no older ones
without a request for each. The JSON itself is read by `discovery.sources.wikibase_json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
"""Ids in one `wbgetentities` call, the limit without `apihighlimits`; entities in one partition."""
PROPS = "info|claims|labels|aliases|sitelinks"


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
                id=f"{n // BATCH:05d}",
                as_of=as_of,
                keys=tuple(batch),
                known=tuple(since.revisions.get(key) for key in batch),
            )
            for n, batch in zip(range(0, len(entities), BATCH), _batches(entities), strict=True)
        ]

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """Each changed entity's observation, then those of the labels. Raises SourceError."""
        assert client is not None
        known = dict(zip(partition.keys, partition.known or [None] * BATCH, strict=False))
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
        """What a sweep shows to be new: absent and merged entities, then whole batches, then those
        that were edited after the day."""
        end = f"{partition.as_of.isoformat()}T23:59:59Z"
        swept, page = self._ask(client, partition.keys, "info")
        whole, pinned = [], []
        for key in partition.keys:
            about = swept.get(key)
            if about is None or "missing" in about:
                yield self._observe(partition, "entity", key, page, absent="no such entity")
                continue
            target = about.get("id", key)
            if target != key:
                payload = json.dumps({"redirect": target}).encode()
                yield self._observe(partition, "redirect", key, page, payload=payload)
                if target in known:
                    continue
            if about.get("lastrevid") != known.get(target) or known.get(target) is None:
                (whole if str(about.get("modified", "9")) <= end else pinned).append(target)
        for batch in _batches(list(dict.fromkeys(whole))):
            yield from self._whole(partition, batch, client, page)
        for key in dict.fromkeys(pinned):
            observation = self._pinned(partition, key, known.get(key), client)
            if observation is not None:
                yield observation

    def _whole(
        self, partition: Partition, keys: Sequence[str], client: PoliteClient, swept: Page
    ) -> Iterator[Observation]:
        """Entities as they are now, in one answer; by halves where that cannot be read, so that one
        entity does not cost the others."""
        try:
            found, page = self._ask(client, keys, PROPS)
        except AnswerError:
            if len(keys) > 1:
                middle = len(keys) // 2
                for half in (keys[:middle], keys[middle:]):
                    yield from self._whole(partition, half, client, swept)
                return
            yield self._observe(partition, "fault", keys[0], swept, absent="entity is unreadable")
            return
        for key in keys:
            entity = found.get(key)
            if entity is None or "missing" in entity:
                yield self._observe(partition, "entity", key, page, absent="no such entity")
                continue
            payload = json.dumps(entity, ensure_ascii=False, separators=(",", ":")).encode()
            revision, modified = entity.get("lastrevid"), entity.get("modified")
            stamp = {"revision": revision, "revision_time": modified}
            yield self._observe(partition, "entity", key, page, payload=payload, **stamp)

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
                "rvstart": f"{partition.as_of.isoformat()}T23:59:59Z",
            },
        )
        try:
            (about,) = answer["query"]["pages"]
            found = about.get("revisions", [])
            number = int(found[0]["revid"]) if found else None
            when, user = (str(found[0]["timestamp"]), found[0].get("user")) if found else ("", None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(
                f"source {self.name}: {page.url} does not answer with revisions ({error!r}). "
                "Check that the endpoint is a MediaWiki with api.php below /w/."
            ) from error
        if number is None:
            reason = "no such entity" if "missing" in about else "no revision at that date"
            return self._observe(partition, "entity", key, page, absent=reason)
        if number == known:
            return None
        url = f"{self.endpoint}/wiki/Special:EntityData/{key}.json"
        page = client.get(url, {"revision": number}, allow=(404,))
        if page.status == 404:
            return self._observe(partition, "fault", key, page, absent="revision is not readable")
        try:
            client.decode(page)
        except AnswerError:
            return self._observe(partition, "fault", key, page, absent="entity is unreadable")
        stamp = {"revision": number, "revision_time": when, "user": user}
        return self._observe(partition, "entity", key, page, payload=page.body, **stamp)

    def _ask(
        self, client: PoliteClient, keys: Sequence[str], props: str
    ) -> tuple[Mapping[str, Any], Page]:
        """`wbgetentities` of some ids: what is said of each. Raises SourceError."""
        params = {"action": "wbgetentities", "ids": "|".join(keys), "props": props}
        value, page = client.api(
            f"{self.endpoint}/w/api.php",
            {**params, "languages": "en"} if props == PROPS else params,
        )
        found = value.get("entities") if isinstance(value, dict) else None
        if not isinstance(found, dict):
            raise SourceError(
                f"source {self.name}: {page.url} does not answer with entities. "
                "Check that the endpoint is a Wikibase with api.php below /w/."
            )
        return found, page

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


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for n in range(0, len(ids), BATCH):
        yield ids[n : n + BATCH]
