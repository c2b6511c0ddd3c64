"""A Wikibase on loopback, as one is installed by default or as Wikidata is."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from loopback import QuietHandler

MISSING = {"missing": ""}


def site_of(
    entities: dict[str, Any],
    *,
    namespace: int = 0,
    prefix: str | None = None,
    concepts: str = "http://localhost/entity/",
    pages: dict[str, Any] | None = None,
) -> type[QuietHandler]:
    """A handler that answers `w/api.php` and `Special:EntityData`; `asked` lists the queries.

    entities   id -> JSON of the current entity, with `lastrevid` and `modified`
    namespace  number of the namespace of items
    prefix     of their titles; `Item:` outside of the main namespace
    pages      title -> another page, as a query lists it
    """
    before = prefix if prefix is not None else ("Item:" if namespace else "")
    others = pages or {}

    def page_of(title: str) -> dict[str, Any]:
        key = title.removeprefix(before) if title.startswith(before) else ""
        if key in entities:
            of = entities[key]
            revision = {"revid": of["lastrevid"], "timestamp": of["modified"], "user": "Ada"}
            model = {"contentmodel": "wikibase-item"}
            return {"title": title, "ns": namespace, "revisions": [revision], **model}
        return others.get(title, {"title": title, "ns": 0, "missing": True})

    class Site(QuietHandler):
        asked: list[dict[str, str]] = []  # noqa: RUF012

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.asked.append({"path": parts.path, **query})
            body = json.dumps(self.answer(parts.path, query)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def answer(self, path: str, query: dict[str, str]) -> Any:
            if "EntityData" in path:
                key = path.rpartition("/")[2].removesuffix(".json")
                return {"entities": {key: entities[key]}}
            if query.get("meta") == "siteinfo":
                items = {"id": namespace, "name": before.rstrip(":")}
                items["defaultcontentmodel"] = "wikibase-item"
                general = {"wikibase-conceptbaseuri": concepts}
                main = {"id": 0, "name": "", "defaultcontentmodel": "wikitext"}
                listed = {"0": main, str(namespace): items}
                return {"query": {"general": general, "namespaces": listed}}
            if query["action"] == "query":
                return {"query": {"pages": [page_of(t) for t in query["titles"].split("|")]}}
            return {"entities": {key: self.entity(key) for key in query["ids"].split("|")}}

        def entity(self, key: str) -> dict[str, Any]:
            if key not in entities:
                return {"id": key, **MISSING}
            found = entities[key]
            if "redirect" in found:
                return self.entity(found["redirect"])
            return {"title": f"{before}{key}", "ns": namespace, **found}

    return Site
