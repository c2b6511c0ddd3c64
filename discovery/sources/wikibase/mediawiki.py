"""What the API of a MediaWiki says of its pages, and of itself: which Wikibase it is, and in which
namespace its items are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discovery.sources.wikibase.numbering import ITEM_ID
from infra.errors import SourceError
from infra.http.action_api import call_api
from infra.http.client import PoliteClient
from infra.http.response import Response

WIKIDATA_CONCEPTS = "http://www.wikidata.org/entity/"
"""Beginning of the IRIs of Wikidata's entities."""
_ITEMS = "wikibase-item"
"""Content model of a page that holds an item."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """The namespace of the pages of items."""

    number: int = 0
    prefix: str = ""
    """Before an item's id in a title, as `Item:`; empty in the main namespace."""

    def item(self, title: str) -> str | None:
        """The item whose page has a title; None where it is no item's."""
        key = title.removeprefix(self.prefix) if title.startswith(self.prefix) else ""
        return key if ITEM_ID.fullmatch(key) else None


MAIN = Namespace()
"""The main namespace, in which Wikidata has its items."""


@dataclass(frozen=True, slots=True)
class Site:
    """One Wikibase."""

    concepts: str | None
    """Beginning of the IRIs of its entities; None where it does not say."""
    items: Namespace


def ask_site(client: PoliteClient, endpoint: str, source: str) -> Site:
    """What the site answers to `meta=siteinfo`. Raises SourceError for another answer."""
    params = {"action": "query", "meta": "siteinfo", "siprop": "general|namespaces"}
    answer, page = call_api(client, f"{endpoint}/w/api.php", params)
    try:
        return _read_site(answer["query"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"source {source}: {page.url} does not say what site it is ({error!r}). "
            "Check that the endpoint is a MediaWiki with api.php below /w/."
        ) from error


def _read_site(told: Any) -> Site:
    """The site in an answer. The namespace is the main one where none is said to hold items.

    Raises KeyError, TypeError, ValueError or AttributeError for an answer that is malformed.
    """
    concepts = told["general"].get("wikibase-conceptbaseuri")
    found = MAIN
    for about in told.get("namespaces", {}).values():
        if about.get("defaultcontentmodel") == _ITEMS:
            name = about["name"]
            found = Namespace(int(about["id"]), f"{name}:" if name else "")
    return Site(concepts if isinstance(concepts, str) else None, found)


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a page, as the API lists it."""

    number: int
    time: str
    """ISO 8601 time, UTC."""
    user: str | None

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> Revision:
        """The revision in an entry of the API's list.

        Raises KeyError, TypeError or ValueError for an entry that is malformed.
        """
        return cls(int(listed["revid"]), str(listed["timestamp"]), listed.get("user"))

    @property
    def stamp(self) -> dict[str, Any]:
        """The revision as fields of an observation."""
        return {"revision": self.number, "revision_time": self.time, "user": self.user}


def listed_pages(answer: Any, page: Response, source: str) -> Sequence[Mapping[str, Any]]:
    """The pages in the answer to a query, with well-formed revisions. Raises SourceError."""
    try:
        pages = answer["query"]["pages"]
        for about in pages:
            for revision in about.get("revisions", ()):
                Revision.of(revision)
        return pages
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"source {source}: {page.url} does not answer with revisions ({error!r}). "
            "Check that the endpoint is a MediaWiki with api.php below /w/."
        ) from error
