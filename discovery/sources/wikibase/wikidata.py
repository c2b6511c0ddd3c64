"""The source for Wikidata or another Wikibase: entities as they were at the end of a day.

The config lists the watched entities by id or selects them by a query. Which of them changed is
found by a sweep of their revisions or, if the config names a stream, from its events.
`discovery.sources.wikibase.api` fetches the changed entities, and the labels of the entities that
are their values. Labels are today's, because older ones would need a request for each.
`discovery.sources.wikibase.entities` reads the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from discovery.facts.fact import Entity
from discovery.sources.observation import (
    Coverage,
    Observation,
    Parsed,
    Partition,
    Sample,
    Signal,
    Since,
    Skip,
    joined,
)
from discovery.sources.wikibase.api import BATCH, WikibaseApi, batches
from discovery.sources.wikibase.config import WikidataConfig
from discovery.sources.wikibase.entities import (
    find_entity,
    parse_entity,
    parse_labels,
    referenced_items,
    stated_properties,
)
from discovery.sources.wikibase.mediawiki import WIKIDATA_CONCEPTS, Namespace, ask_site
from discovery.sources.wikibase.numbering import unnamed
from discovery.sources.wikibase.recent_changes import follow
from discovery.sources.wikibase.sparql import select_items
from infra.errors import SourceError
from infra.http.client import PoliteClient

SAMPLE_ITEMS = 3
"""Items that a sample has at most."""
PARTITION = 10 * BATCH
"""Entities in one partition: few enough to fetch again after a fault, and so many that the changed
ones fill a call."""


class WikidataSource:
    """The watched entities of a Wikibase, fetched in partitions."""

    coverage: Coverage = "subject"

    def __init__(self, config: WikidataConfig, base_dir: Path = Path()) -> None:
        self.config, self.name = config, config.name
        self.numbering = config.numbering

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        """The next slice: first the entities that the query selects, then slices of the stream.

        None where the config names neither. Raises SourceError.
        """
        assert client is not None
        config, state = self.config, dict(cursor or {})
        namespace = Namespace()
        if config.needs_proof or (config.stream is not None and not config.on_wikidata):
            site = ask_site(client, config.endpoint, self.name)
            if config.needs_proof and site.concepts != WIKIDATA_CONCEPTS:
                said = site.concepts or "nothing of its concepts"
                what = f"{config.endpoint} is not Wikidata (it says {said})"
                raise SourceError(f"source {self.name}: {unnamed(what)}.")
            namespace = site.items
        if config.query is not None and state.get("selected_for") != as_of.isoformat():
            selected, skips = select_items(
                client, config.query_endpoint, config.query, self.name, sent=config.real("query")
            )
            state["selected_for"] = as_of.isoformat()
            alone = config.stream is None
            return Signal(selected=selected, cursor=state, done=alone, skips=skips)
        if config.stream is None:
            return None
        return follow(client, config.stream, config.wiki, state, as_of, self.name, namespace)

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        """Partitions of the watched entities that may have changed or were not fetched before."""
        slices = signals or ()
        watched = {*self.config.entities, *since.revisions}
        watched.update(key for signal in slices for key in signal.selected)
        complete = self.config.stream is not None and not any(signal.gap for signal in slices)
        if complete and "at" in (since.cursor or {}):
            changed = {key for signal in slices for key in signal.subjects}
            unread = {key for key in watched if since.revisions.get(key) is None}
            watched = (watched & changed) | unread
        entities = sorted(watched, key=lambda key: int(key[1:]))
        return [
            Partition(
                id=f"{n:05d}",
                as_of=as_of,
                keys=tuple(batch),
                known=tuple(since.revisions.get(key) for key in batch),
            )
            for n, batch in enumerate(batches(entities, PARTITION))
        ]

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """The changed entities, then the labels of their values. Raises SourceError."""
        assert client is not None
        known = dict(zip(partition.keys, partition.known, strict=True))
        api = WikibaseApi(
            source=self.name,
            endpoint=self.config.endpoint,
            partition=partition,
            client=client,
        )
        wanted: set[str] = set()
        for observation in api.entities(known):
            if observation.kind == "entity" and not observation.absent:
                entity = self._decode(observation)
                wanted |= referenced_items(entity, self.config.relations)
                if self.numbering.human is not None:  # its properties have no templates of ours
                    wanted |= stated_properties(entity, self.config.relations)
            yield observation
        yield from api.labels(wanted)

    def parse(self, observation: Observation) -> Parsed:
        """The facts and entities in an observation. Pure. The crawl counts absent entities."""
        if observation.absent:
            return Parsed()
        if observation.kind == "labels":
            return parse_labels(json.loads(observation.payload), self.name, self.numbering)
        if observation.kind == "redirect":
            target = json.loads(observation.payload)["redirect"]
            merged = Entity(id=observation.about, label=None, redirect=target, source=self.name)
            return Parsed(entities=(merged,))
        entity = self._decode(observation)
        relations = self.config.relations
        return parse_entity(entity, self.name, relations, numbering=self.numbering)

    def sample(self, partition: Partition, client: PoliteClient | None) -> Sample:
        """The first entities, with the names of their values. Raises as `fetch`."""
        few = replace(
            partition, keys=partition.keys[:SAMPLE_ITEMS], known=partition.known[:SAMPLE_ITEMS]
        )
        found = list(self.fetch(few, client))
        absent = tuple(Skip(self.name, o.absent, o.about) for o in found if o.absent)
        parsed = joined([*map(self.parse, found), Parsed(skips=absent)])
        return Sample(parsed, len(few.keys), "item", few == partition)

    def num_requests(self, partitions: Sequence[Partition]) -> int:
        """One for each fifty items to compare them and one to fetch them; of a past day, two more
        for each item that was edited since, which all are counted as."""
        number = sum(len(part.keys) for part in partitions)
        past = any(part.as_of < datetime.now(UTC).date() for part in partitions)
        calls = -(-number // BATCH)
        return calls + (2 * number if past else calls)

    def _decode(self, observation: Observation) -> Mapping[str, Any]:
        """The entity object in a payload, with revision, time and user of the observation.

        Raises SourceError where there is none.
        """
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
