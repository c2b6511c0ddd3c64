"""Read the feeds and pages of a source: their items, and the pages that items link to.

Addresses are shown, and items identified, without user info and secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urlsplit

from discovery.sources.observation import Skip
from discovery.sources.web import sandbox
from discovery.sources.web.config import FeedConfig
from discovery.sources.web.items import Item, UnreadableDocument
from infra.errors import SourceError
from infra.http.addresses import is_configured
from infra.http.client import PoliteClient
from infra.http.faults import advice
from infra.http.response import Response
from infra.secrets.masks import public_link
from infra.secrets.references import without_login

ANY_STATUS = tuple(range(400, 600))
"""HTTP statuses that are a skip and not an error, unless they stand for a fault of the host."""


@dataclass(frozen=True)
class Documents:
    """The feeds and pages of one source."""

    config: FeedConfig

    def items(
        self, url: str, client: PoliteClient
    ) -> tuple[list[Item] | None, Response | None, list[Skip]]:
        """The items at an address (None where it gives no feed or page), the response they are
        read from (None where it cannot be fetched), and skips for what could not be read, whose
        samples may be long."""
        name, most = self.config.name, self.config.max_entries
        setting = "feeds" if url in self.config.feeds else "pages"
        try:
            page = client.get(url, allow=ANY_STATUS, setting=setting)
        except SourceError as error:
            return None, None, [Skip(name, "cannot be fetched", str(error))]
        try:
            if page.status != 200:
                raise UnreadableDocument(f"HTTP {page.status}", advice(page.status, setting))
            kind = "feed" if setting == "feeds" else "page"
            items, fault = sandbox.read(kind, page.body, self._known_as[url], page.headers)
            skips = [Skip(name, fault, url)] if fault else []
            if len(items) > most:
                reason = f"feed has more than {most} entries (`max_entries`)"
                skips.append(Skip(name, reason, url, len(items) - most))
            return items[:most], page, skips
        except UnreadableDocument as error:
            sample = f"{url} ({error.advice})" if error.advice else url
            return None, page, [Skip(name, str(error), sample)]

    def link(self, url: str, item: Item) -> str:
        """The link of an item of an address, as it may be written; the address for its own."""
        return public_link(url if item.url == self._known_as[url] else item.url)

    def followed(self, item: Item, feed_url: str, client: PoliteClient) -> Item:
        """The item with the text of its own page instead of the feed's.

        Where that page cannot be read the item keeps its text, and a fault says why.
        """
        if (
            not self.config.follow
            or item.url == self._known_as[feed_url]
            or feed_url in self.config.pages
        ):
            return item
        asked = (*self.config.real("feeds"), *self.config.real("pages"))
        allowed = {urlsplit(url).hostname for url in asked} | set(self.config.hosts)
        reason = "link of an entry leads to another host"
        if urlsplit(item.url).hostname in allowed:
            try:
                is_link = not is_configured(item.url, self.config.configured)
                page = client.get(item.url, is_link=is_link, allow=ANY_STATUS)
                if page.status == 200:
                    (read,), _ = sandbox.read("page", page.body, item.url, page.headers)
                    return replace(item, text=read.text, faults=(*item.faults, *read.faults))
                reason = f"page of an entry: HTTP {page.status}"
            except UnreadableDocument as error:
                reason = f"page of an entry: {error}"
            except SourceError:
                reason = "page of an entry: cannot be fetched"
        return replace(item, faults=(*item.faults, reason))

    @cached_property
    def _known_as(self) -> dict[str, str]:
        """Address as it is written -> as it identifies its items, and begins their links: without
        user info and secrets."""
        given = self.config.identity()
        return {
            written: without_login(address)
            for name in ("feeds", "pages")
            for written, address in zip(getattr(self.config, name), given[name], strict=True)
        }
