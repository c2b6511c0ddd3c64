"""Fetch the entities of a Wikibase that changed, in as few requests as possible.

First a sweep lists the last revision of every entity (`prop=info|revisions`, fifty titles a call).
Changed entities whose last edit is not after the crawl's day are fetched fifty at a time
(`wbgetentities`). For the others the last revision of that day is looked up (`prop=revisions`), and
the JSON of that revision is fetched (`Special:EntityData`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from discovery.sources.observation import Observation, Partition
from discovery.sources.wikibase.entities import find_entity, has_statements
from discovery.sources.wikibase.mediawiki import Revision, listed_pages
from discovery.sources.wikibase.names import LANGUAGES
from discovery.sources.wikibase.numbering import ITEM_ID
from infra.errors import AnswerError
from infra.http.action_api import call_api
from infra.http.client import PoliteClient
from infra.http.response import Response

BATCH = 50
"""Ids in one call: the API's limit without the right `apihighlimits`."""
PROPS = "info|claims|labels|aliases|sitelinks"
"""What `wbgetentities` is asked for."""
NAMES = "|".join(LANGUAGES)
"""The languages of the names that it is asked for."""
UNREADABLE = "entity is unreadable"
NAMELESS = "label is unreadable"


@dataclass(slots=True, kw_only=True)
class WikibaseApi:
    """Fetches one partition of a Wikibase."""

    source: str
    """Name of the source, in observations and errors."""
    endpoint: str
    """Origin of the Wikibase."""
    partition: Partition
    client: PoliteClient
    namespace: str | None = None
    """Prefix of the titles of items, as `Item:`, which is empty on Wikidata; None until a page was
    found."""

    @property
    def end(self) -> str:
        """The last second of the crawl's day, as MediaWiki writes times."""
        return f"{self.partition.as_of.isoformat()}T23:59:59Z"

    def entities(self, known: Mapping[str, int | None]) -> Iterator[Observation]:
        """Yield an observation of each entity that changed: first of entities that are absent, then
        of those fetched in batches, then of those that were edited after the day.

        known  entity id -> its revision in the last snapshot, or None

        The entity that a redirect leads to is fetched too. Raises SourceError.
        """
        whole: dict[str, Revision] = {}
        pinned: list[str] = []
        for batch in batches(self.partition.keys):
            for key, revision, page in self._sweep(batch):
                if revision is None:
                    yield self._observe("entity", key, page, absent="no such entity")
                elif revision.number != known[key]:
                    if revision.time <= self.end:
                        whole[key] = revision
                    else:
                        pinned.append(key)
        for batch in batches(list(whole)):
            for observation in self._whole({key: whole[key] for key in batch}):
                if observation is not None:
                    yield observation
                    pinned += self._target(observation)
        asked: set[str] = set()
        while pinned:
            key = pinned.pop(0)
            found = None if key in asked else self._pinned(key, known.get(key))
            asked.add(key)
            if found is not None:
                yield found
                pinned += self._target(found)

    def _target(self, observation: Observation) -> list[str]:
        """The entity that a redirect leads to, unless it is in the partition itself."""
        if observation.kind != "redirect":
            return []
        target = json.loads(observation.payload)["redirect"]
        return [] if target in self.partition.keys else [target]

    def labels(self, ids: Iterable[str]) -> Iterator[Observation]:
        """Yield observations of the labels and aliases of the given items and properties."""
        for batch in batches(sorted(ids)):
            yield from self._labels(batch)

    def _labels(self, keys: Sequence[str]) -> Iterator[Observation]:
        """In one answer; by halves where that cannot be read."""
        url, about = f"{self.endpoint}/w/api.php", "|".join(keys)
        params = {"action": "wbgetentities", "props": "labels|aliases", "languages": NAMES}
        try:
            value, page = call_api(self.client, url, {**params, "ids": about})
            dict(value["entities"])
        except (AnswerError, KeyError, TypeError, ValueError):
            if len(keys) == 1:
                yield self._observe("labels", about, Response.unread(url), absent=NAMELESS)
                return
            for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
                yield from self._labels(half)
            return
        yield self._observe("labels", about, page, page.body)

    def _sweep(self, keys: Sequence[str]) -> Iterator[tuple[str, Revision | None, Response]]:
        """The last revision of each page; None where there is no page."""
        found, page = self._listed(keys)
        if not found and self.namespace is None and (asked := self._item_namespace(keys)):
            self.namespace = asked
            found, page = self._listed(keys)
        if found and self.namespace is None:
            self.namespace = ""
        for key in keys:
            yield key, found.get(key), page

    def _listed(self, keys: Sequence[str]) -> tuple[dict[str, Revision], Response]:
        """The last revision of each entity that has a page, and the answer."""
        answer, page = call_api(
            self.client,
            f"{self.endpoint}/w/api.php",
            {
                "action": "query",
                "prop": "info|revisions",
                "titles": "|".join(self._title(key) for key in keys),
                "rvprop": "ids|timestamp|user",
            },
        )
        found = {
            str(about.get("title")): about for about in listed_pages(answer, page, self.source)
        }
        pages = {key: found.get(self._title(key), {}) for key in keys}
        return {
            key: Revision.of(about["revisions"][0])
            for key, about in pages.items()
            if about.get("revisions")
            # another page than an entity's may have its id as title
            and str(about.get("contentmodel", "wikibase")).startswith("wikibase")
        }, page

    def _item_namespace(self, keys: Sequence[str]) -> str | None:
        """The prefix of the titles of items, by the entities among the keys that exist."""
        try:
            answer, _ = call_api(
                self.client,
                f"{self.endpoint}/w/api.php",
                {"action": "wbgetentities", "props": "info", "ids": "|".join(keys)},
            )
            entities = dict(answer["entities"]).values()
        except (AnswerError, KeyError, TypeError, ValueError):
            return None
        for about in entities:
            if isinstance(about, dict) and str(about.get("title")).endswith(f":{about.get('id')}"):
                return about["title"].removesuffix(about["id"])
        return None

    def _title(self, key: str) -> str:
        """The title of an entity's page."""
        return (self.namespace or "") + key

    def _whole(self, swept: Mapping[str, Revision]) -> Iterator[Observation | None]:
        """Fetch entities as they are now, in one call. Where the answer is unreadable, fetch each
        half by itself, so that one bad entity does not cost the others."""
        url, keys = f"{self.endpoint}/w/api.php", list(swept)
        params = {"action": "wbgetentities", "props": PROPS, "languages": NAMES}
        try:
            value, page = call_api(self.client, url, {**params, "ids": "|".join(keys)})
            found = dict(value["entities"])
        except (AnswerError, KeyError, TypeError, ValueError):
            for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
                if len(keys) > 1:
                    yield from self._whole({key: swept[key] for key in half})
            if len(keys) == 1:
                page = Response.unread(url)
                yield self._observe("fault", keys[0], page, absent=UNREADABLE)
            return
        for key, revision in swept.items():
            yield self._one(key, revision, found.get(key, {"missing": ""}), page)

    def _one(
        self, key: str, revision: Revision, entity: Mapping[str, Any], page: Response
    ) -> Observation | None:
        """The observation of one entity in an answer; if it was edited since the sweep, of the last
        revision of the day."""
        if not isinstance(entity, dict):
            return self._observe("fault", key, page, absent=UNREADABLE)
        if "missing" in entity:
            return self._observe("entity", key, page, absent="no such entity")
        if entity.get("id") != key:
            return self._redirect(key, revision, entity, page)
        if not has_statements(entity):
            return self._observe("fault", key, page, absent=UNREADABLE)
        if entity.get("lastrevid") != revision.number:
            return self._pinned(key, None)
        payload = json.dumps(entity, ensure_ascii=False, separators=(",", ":")).encode()
        return self._observe("entity", key, page, payload, **revision.stamp)

    def _redirect(
        self, key: str, revision: Revision, entity: Mapping[str, Any], page: Response
    ) -> Observation:
        """The observation that the answer holds another entity, into which this one was merged."""
        target = entity.get("id")
        if not isinstance(target, str) or not ITEM_ID.fullmatch(target):
            return self._observe("fault", key, page, absent=UNREADABLE)
        payload = json.dumps({"redirect": target}).encode()
        return self._observe("redirect", key, page, payload, **revision.stamp)

    def _pinned(self, key: str, known: int | None) -> Observation | None:
        """The observation of an entity at its last revision of the day, or of its absence; None if
        that is the known revision."""
        answer, page = call_api(
            self.client,
            f"{self.endpoint}/w/api.php",
            {
                "action": "query",
                "prop": "revisions",
                "titles": self._title(key),
                "rvprop": "ids|timestamp|user",
                "rvlimit": 1,
                "rvdir": "older",
                "rvstart": self.end,
            },
        )
        (about,) = listed_pages(answer, page, self.source) or ({"missing": True},)
        if not about.get("revisions"):
            reason = "no such entity" if "missing" in about else "no revision at that date"
            return self._observe("entity", key, page, absent=reason)
        revision = Revision.of(about["revisions"][0])
        if revision.number == known:
            return None
        url = f"{self.endpoint}/wiki/Special:EntityData/{key}.json"
        try:
            params = {"revision": revision.number}
            value, page = self.client.get_json(url, params, allow=(404,))
            if page.status == 404:
                reason = "revision is not readable"
                return self._observe("fault", key, page, absent=reason)
            entity = find_entity(value, key)
        except AnswerError:
            entity, page = None, Response.unread(url)
        if entity is None:
            return self._observe("fault", key, page, absent=UNREADABLE)
        if entity.get("id") != key:
            return self._redirect(key, revision, entity, page)
        if not has_statements(entity):
            return self._observe("fault", key, page, absent=UNREADABLE)
        return self._observe("entity", key, page, page.body, **revision.stamp)

    def _observe(
        self,
        kind: Literal["entity", "redirect", "fault", "labels"],
        about: str,
        page: Response,
        payload: bytes = b"",
        **more: Any,
    ) -> Observation:
        """An observation of this source and partition, from a response."""
        return Observation(
            source=self.source,
            partition=self.partition.id,
            kind=kind,
            about=about,
            as_of=self.partition.as_of.isoformat(),
            url=page.url,
            payload=payload,
            etag=page.etag,
            fetched_at=page.fetched_at,
            **more,
        )


def batches(ids: Sequence[str], size: int = BATCH) -> Iterator[Sequence[str]]:
    """The ids in lists of at most `size`."""
    for n in range(0, len(ids), size):
        yield ids[n : n + size]
