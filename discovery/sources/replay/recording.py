"""A recording of a Wikibase: the answers of its API and its stream of changes at any moment.

A recording is a directory with `index.json`,

    {"format": 1, "labels": FILE,
     "entities": {ID: [{"revision": N, "timestamp": ISO, "file": FILE, "user": NAME}]},
     "redirects": {ID: {"to": ID, "revision": N, "timestamp": ISO, "user": NAME}},
     "deleted": {ID: ISO}, "queries": {SPARQL: [ID]}, "events": FILE, "payloads": FILE}

where the last five keys and the users may be missing. FILEs are gzipped: entity JSON in any layout
that was ever served; `labels` a map {ID: entity as wbgetentities answers}; `events` a line of JSON
{"id": TEXT, "data": TEXT} for each event; `payloads` a map {FILE: entity} with the entities whose
files are not files of their own. Lists of revisions are made from the index, so they hold recorded
revisions only.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.errors import ConfigError
from infra.files.regular import require_regular

MAX_IDS = 50
"""Ids that `wbgetentities` takes in one call without `apihighlimits`."""


class Recording:
    """The answers of `w/api.php`, `Special:EntityData` and a SPARQL endpoint."""

    def __init__(self, directory: Path, now: str = "9999") -> None:
        """
        now  ISO time of the replay: revisions and events after it do not exist yet

        Raises ConfigError where the directory is not a recording.
        """
        self.directory, self.now = directory, now
        try:
            require_regular(directory / "index.json")
            index = json.loads((directory / "index.json").read_text(encoding="utf-8"))
            if index["format"] != 1:
                raise ValueError(f"format {index['format']!r} instead of 1")
            self.entities: dict[str, list[dict[str, Any]]] = index["entities"]
            self.labels = json.loads(self._file(index["labels"]))
            inside = json.loads(self._file(index["payloads"])) if "payloads" in index else {}
            self.payloads = {name: json.dumps(entity).encode() for name, entity in inside.items()}
            self.redirects = index.get("redirects", {})
            self.deleted = index.get("deleted", {})
            self.queries = index.get("queries", {})
            lines = self._file(index["events"]).splitlines() if "events" in index else []
            self.events = [(event["id"], event["data"]) for event in map(json.loads, lines)]
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{directory} is not a recording: {error}. "
                "Give a directory with an index.json (examples/recordings/wikidata is one)."
            ) from error
        self._entity = cache(self._read_entity)

    def answer(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and JSON body for a path below the base URL."""
        stem = path.removeprefix("/wiki/Special:EntityData/").removesuffix(".json")
        if path == "/w/api.php":
            listed = _site if query.get("meta") == "siteinfo" else self._revisions
            actions = {"query": listed, "wbgetentities": self._get_entities}
            action = actions.get(query.get("action", ""))
            unknown = _refusal("badvalue", "Unrecognized value for parameter action.")
            return 200, json.dumps(action(query) if action else unknown).encode()
        if path == "/sparql" and query.get("query") in self.queries:
            return 200, json.dumps(_results(self.queries[query["query"]])).encode()
        if stem != path:
            for recorded in self._known(stem):
                if str(recorded["revision"]) == query.get("revision") and "file" in recorded:
                    return 200, self._payload(recorded["file"])
        return 404, b'{"error": "not recorded"}'

    def _known(self, key: str) -> list[dict[str, Any]]:
        """Revisions of an entity up to now, oldest first, its merge included; none if deleted."""
        if key in self.deleted and self.deleted[key] <= self.now:
            return []
        revisions = [*self.entities.get(key, [])]
        if key in self.redirects:
            revisions.append(self.redirects[key])
        known = [item for item in revisions if item["timestamp"] <= self.now]
        return sorted(known, key=lambda item: item["timestamp"])

    def _revisions(self, query: Mapping[str, str]) -> Any:
        """The newest recorded revision of each title; of one alone, that at or before `rvstart`."""
        titles = query.get("titles", "").split("|")
        if len(titles) > 1 and "rvlimit" in query:
            return _refusal("multpages", "rvlimit may only be used with a single page.")
        if len(titles) > MAX_IDS:
            return _refusal("toomanyvalues", f'Too many values for parameter "titles": {MAX_IDS}.')
        pages = [self._page(title, query) for title in titles]
        return {"batchcomplete": True, "query": {"pages": pages}}

    def _page(self, title: str, query: Mapping[str, str]) -> Any:
        """One page of an answer to `prop=revisions` or `prop=info`."""
        page: dict[str, Any] = {"ns": 0, "title": title}
        known = self._known(title)
        if not known:
            return {**page, "missing": True}
        found = [item for item in known if item["timestamp"] <= query.get("rvstart", "9999")]
        if found:
            last = {"revid": found[-1]["revision"], "timestamp": found[-1]["timestamp"]}
            if "user" in found[-1] and "user" in query.get("rvprop", ""):
                last["user"] = found[-1]["user"]
            page["revisions"] = [last]
        if "info" in query.get("prop", "").split("|"):
            page["lastrevid"] = known[-1]["revision"]
            page |= {"redirect": True} if "to" in known[-1] else {}
        return page

    def _get_entities(self, query: Mapping[str, str]) -> Any:
        """The answer of `wbgetentities`: current entities, or labels unless `info` is asked for."""
        ids, props = query.get("ids", "").split("|"), query.get("props", "").split("|")
        if len(ids) > MAX_IDS:
            return _refusal("toomanyvalues", f'Too many values for parameter "ids": {MAX_IDS}.')
        if "info" not in props:
            missing = {"missing": ""}
            found = {key: self.labels.get(key, {"id": key, **missing}) for key in ids}
        else:
            found = {key: self._current(key, props) for key in ids}
        return {"entities": found, "success": 1}

    def _current(self, key: str, props: list[str]) -> Any:
        """An entity at the replay's time; for one that was merged into another, the other."""
        own = self._known(key)
        target = own[-1].get("to", key) if own else key
        known = self._known(target)
        if not known:
            return {"id": key, "missing": ""}
        about = {"id": target, "type": "item", "title": target, "ns": 0}
        about |= {"lastrevid": known[-1]["revision"], "modified": known[-1]["timestamp"]}
        if target != key:
            about["redirects"] = {"from": key, "to": target}
        if "claims" not in props:
            return about
        content = self._entity(known[-1]["file"], target)
        kept = ("labels", "aliases", "claims", "sitelinks")
        return {**about, **{name: content.get(name, {}) for name in kept}}

    def _read_entity(self, file: str, key: str) -> Mapping[str, Any]:
        payload = json.loads(self._payload(file))
        return payload["entities"][key] if "entities" in payload else payload

    def _payload(self, name: str) -> bytes:
        return self.payloads[name] if name in self.payloads else self._file(name)

    def _file(self, name: str) -> bytes:
        require_regular(self.directory / name)
        return gzip.decompress((self.directory / name).read_bytes())


def _site(query: Mapping[str, str]) -> Any:
    """The answer to `meta=siteinfo`: a recording is one of Wikidata."""
    general = {"wikibase-conceptbaseuri": "http://www.wikidata.org/entity/"}
    items = {"id": 0, "name": "", "defaultcontentmodel": "wikibase-item"}
    return {"batchcomplete": True, "query": {"general": general, "namespaces": {"0": items}}}


def _results(ids: list[str]) -> Any:
    """The given items as SPARQL 1.1 Query Results JSON."""
    terms = [{"type": "uri", "value": f"http://www.wikidata.org/entity/{key}"} for key in ids]
    bindings = [{"item": term} for term in terms]
    return {"head": {"vars": ["item"]}, "results": {"bindings": bindings}}


def _refusal(code: str, info: str) -> Any:
    """An error as the Action API answers it."""
    return {"error": {"code": code, "info": info}}
