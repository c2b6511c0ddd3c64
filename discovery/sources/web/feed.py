"""Extract facts from new and changed entries of feeds and from web pages.

`listen` requests every feed and page (if robots.txt allows it, and conditionally where the server
sends ETags) and compares each item with the one that was read before. `fetch` extracts triples from
the items that changed. An extractor may be a language model, so the observation holds the triples,
with the text, the sentences and the identity of the extractor, and `parse` only turns them into
facts. Nobody vouches for these facts: each carries the sentence that it was extracted from, and the
source is quarantined.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from discovery.extractors import EXTRACTORS
from discovery.extractors.sentences import MAX_SENTENCE_CHARS, sentences
from discovery.extractors.triple import is_plain
from discovery.facts.dates import iso_interval
from discovery.facts.fact import Entity, Fact
from discovery.relations.labels import clean_label
from discovery.relations.relation import Relation, load_relations
from discovery.sources.observation import (
    MAX_SAMPLE,
    Coverage,
    Observation,
    Parsed,
    Partition,
    Sample,
    Signal,
    Since,
    Skip,
    entry_prefix,
    joined,
)
from discovery.sources.web.config import FeedConfig
from discovery.sources.web.documents import Documents
from discovery.sources.web.items import Item
from infra.errors import ConfigError, SourceError
from infra.http.client import PoliteClient
from infra.http.response import Response
from infra.settings import nearest

MAX_KNOWN = 20_000
"""Items whose digests a cursor holds. Those not seen for longest are dropped, and read again if
they come back."""
SAMPLE_ENTRIES = 5
"""Entries that a sample has at most."""


class FeedSource:
    """Feeds and pages. Each address is a slice and a partition; each item is an observation."""

    coverage: Coverage = "entry"

    def __init__(self, config: FeedConfig, base_dir: Path = Path()) -> None:
        self.config, self.name, self.base_dir = config, config.name, base_dir
        self.addresses = (*config.feeds, *config.pages)
        self.documents = Documents(config)

    def listen(self, as_of: date, cursor: Any, client: PoliteClient | None) -> Signal | None:
        """The next address with the ids of its new and changed items, as `subjects`.

        An item dated after the crawl's day is left for a later crawl, and counted as a skip, as is
        an address that cannot be read. Raises SourceError where no address gives a feed or a page.
        """
        assert client is not None
        at: int = cursor["at"] if cursor else 0
        known: dict[str, str] = dict(cursor["known"]) if cursor else {}
        url = self.addresses[at]
        items, _, skips = self.documents.items(url, client)
        unreached = (cursor["unreached"] if at else 0) + (items is None)
        if unreached == len(self.addresses):
            raise SourceError(
                f"source {self.name}: none of its addresses gives a feed or a page; the last: "
                f"{skips[0].reason}: {skips[0].sample}"
            )
        skips = [replace(skip, sample=skip.sample[:MAX_SAMPLE]) for skip in skips]
        changed = []
        link = partial(self.documents.link, url)
        for item in items or ():
            if item.day is not None and item.day > as_of:
                skips.append(Skip(self.name, "dated after the day of the crawl", link(item)))
                continue
            if known.pop(item.id, None) != item.digest:
                if item.text:
                    changed.append(item.id)
                else:
                    skips.append(Skip(self.name, "entry has no text", link(item)))
            known[item.id] = item.digest
        done = at + 1 >= len(self.addresses)
        following = {
            "at": 0 if done else at + 1,
            "unreached": unreached,
            "known": [list(pair) for pair in known.items()][-MAX_KNOWN:],
        }
        return Signal(
            subjects=(url, *changed) if changed else (),
            cursor=following,
            done=done,
            skips=tuple(skips),
        )

    def partitions(
        self, as_of: date, since: Since, signals: Sequence[Signal] | None
    ) -> list[Partition]:
        """A partition for each address with new or changed items."""
        return [
            Partition(id=f"{n:05d}", as_of=as_of, keys=signal.subjects)
            for n, signal in enumerate(signals or ())
            if signal.subjects
        ]

    def fetch(self, partition: Partition, client: PoliteClient | None) -> Iterator[Observation]:
        """Each item of the partition, with the triples that the extractor finds in it.

        Raises SourceError where the address gives no feed or page any more, ConfigError for an
        unknown relation.
        """
        assert client is not None
        url, *wanted = partition.keys
        items, page, faults = self.documents.items(url, client)
        if items is None or page is None:  # else its items would count as read
            raise SourceError(
                f"source {self.name}: {url} was read a moment ago, and now: {faults[0].reason}: "
                f"{faults[0].sample}. Run the same command again."
            )
        found = {item.id: item for item in items or ()}
        for key in wanted:
            if key not in found:
                yield self._observe(partition, url, page, b"", absent="gone before it was read")
                continue
            item = self.documents.followed(found[key], url, client)
            item = replace(item, url=self.documents.link(url, item))
            payload = json.dumps(self._extracted(item, page), ensure_ascii=False)
            yield self._observe(partition, item.url, page, payload.encode(), about=item.id)

    def parse(self, observation: Observation) -> Parsed:
        """The facts of an item, each with its sentence; parts that were not read are skips."""
        if observation.absent:
            return Parsed(skips=(Skip(self.name, observation.absent, observation.about),))
        item = json.loads(observation.payload)
        point = iso_interval(item["day"]) if item["day"] else None
        skips = [Skip(self.name, reason, item["url"]) for reason in item["faults"]]
        for sentence in sentences(item["text"]):
            reason = _unread(sentence)
            if reason:
                skips.append(Skip(self.name, reason, sentence[:MAX_SAMPLE]))
        facts: dict[str, Fact] = {}
        entities: dict[str, Entity] = {}
        for triple in sorted(item["triples"], key=lambda t: (-t["score"], t["sentence"])):
            subject, value = clean_label(triple["subject"]), clean_label(triple["object"])
            if not subject or not value:
                continue
            identity = "\n".join((subject, triple["relation"], value))
            digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
            key = f"{entry_prefix(self.name, item['id'])}{digest}"
            fact = Fact(
                statement_id=key,
                subject=subject,
                relation=triple["relation"],
                value=value,
                value_type="string",
                point=point,
                references=(item["url"],),
                quote=triple["sentence"],
                source=self.name,
            )
            facts.setdefault(key, fact)
            entities.setdefault(subject, Entity(id=subject, label=subject, source=self.name))
        return Parsed(tuple(facts.values()), tuple(entities.values()), tuple(skips))

    def sample(self, partition: Partition, client: PoliteClient | None) -> Sample:
        """The first entries of an address. Raises as `fetch`."""
        few = replace(partition, keys=partition.keys[: 1 + SAMPLE_ENTRIES])
        parsed = joined(map(self.parse, self.fetch(few, client)))
        return Sample(parsed, len(few.keys) - 1, "entry", few == partition)

    def num_requests(self, partitions: Sequence[Partition]) -> int:
        """Two for each address; with `follow`, one more for each of its entries."""
        entries = sum(len(part.keys) - 1 for part in partitions) if self.config.follow else 0
        return len(self.addresses) + len(partitions) + entries

    @cached_property
    def relations(self) -> list[Relation]:
        """The configured relations with their templates. Raises ConfigError for an unknown one."""
        path = self.config.templates and self.base_dir / self.config.templates
        known = load_relations(path or None)
        for key in self.config.relations:
            if key not in known:
                raise ConfigError(
                    f"source {self.name}: relation {key!r} has no templates{nearest(key, known)}. "
                    "Name one that has, or give `templates`."
                )
        return [known[key] for key in self.config.relations]

    def _extracted(self, item: Item, page: Response) -> dict[str, Any]:
        """The payload of an item's observation: its text, the extractor, and the triples."""
        extractor = EXTRACTORS[self.config.extractor.name](self.config.extractor)
        read = [sentence for sentence in sentences(item.text) if not _unread(sentence)]
        triples = extractor.extract(read, self.relations)
        return {
            "id": item.id,
            "url": item.url,
            "title": item.title,
            "day": item.day.isoformat() if item.day else None,
            "text": item.text,
            "faults": list(item.faults),
            "extractor": dict(extractor.identity()),
            "triples": [asdict(triple) for triple in triples],
            "body": hashlib.sha256(page.body).hexdigest(),
        }

    def _observe(
        self,
        partition: Partition,
        url: str,
        page: Response,
        payload: bytes,
        *,
        about: str | None = None,
        absent: str | None = None,
    ) -> Observation:
        return Observation(
            source=self.name,
            partition=partition.id,
            kind="page",
            about=about or url,
            as_of=partition.as_of.isoformat(),
            url=url,
            payload=payload,
            absent=absent,
            etag=page.etag,
            fetched_at=page.fetched_at,
        )


def _unread(sentence: str) -> str | None:
    """Why a sentence is not given to an extractor; None if it is."""
    if len(sentence) > MAX_SENTENCE_CHARS:
        return f"sentence is longer than {MAX_SENTENCE_CHARS} characters"
    return None if is_plain(sentence) else "sentence denies, doubts, supposes or looks back"
