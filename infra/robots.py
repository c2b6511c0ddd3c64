"""robots.txt (RFC 9309): which pages of a site a crawler may ask for, and how fast.

The rules themselves are read by protego: the longest match wins, and `Crawl-delay` is understood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from protego import Protego

from infra.errors import SourceError
from infra.pages import Page

TOKEN = "corrigenda"
"""The product token that groups of rules are chosen by (section 2.2.1)."""
MAX_BYTES = 500 * 1024
"""What has to be parsed at least (section 2.5); what follows is cut off."""
MAX_AGE_S = 24 * 3600.0
"""How long rules are used without being asked for again (section 2.4)."""


@dataclass(frozen=True, slots=True)
class _Rules:
    rules: Protego | None
    """None where nothing may be asked for."""
    why: str
    asked_at: float


@dataclass(slots=True)
class Robots:
    """The rules of every site that was asked for them."""

    source: str
    """Named in errors."""
    fetch: Callable[[str], Page]
    """The page at a URL, whatever its status; raises SourceError where it cannot be reached."""
    clock: Callable[[], float]
    _sites: dict[str, _Rules] = field(default_factory=dict)

    def check(self, url: str) -> float:
        """Seconds that the site wants between two requests, 0 where it does not say.

        Raises SourceError where the URL must not be asked for: by a rule, or since the rules could
        not be had (section 2.3.1.4), which forbids everything.
        """
        site = self._site(url)
        if site.rules is None:
            raise SourceError(
                f"source {self.source}: robots.txt of {_origin(url)} cannot be had ({site.why}), "
                "so nothing of it may be fetched (RFC 9309). Run the same command later."
            )
        if not site.rules.can_fetch(url, TOKEN):
            raise SourceError(
                f"source {self.source}: robots.txt of {_origin(url)} does not allow {url}. "
                "Leave it out, or ask its operator."
            )
        return float(site.rules.crawl_delay(TOKEN) or 0.0)

    def _site(self, url: str) -> _Rules:
        origin, now = _origin(url), self.clock()
        known = self._sites.get(origin)
        if known is None or now - known.asked_at > MAX_AGE_S:
            known = self._sites[origin] = self._ask(origin, now)
        return known

    def _ask(self, origin: str, now: float) -> _Rules:
        """Missing rules allow everything, unreachable ones nothing."""
        try:
            page = self.fetch(f"{origin}/robots.txt")
        except SourceError as error:
            return _Rules(None, str(error).removeprefix(f"source {self.source}: "), now)
        if page.status >= 500 or page.status == 429:
            return _Rules(None, f"HTTP {page.status}", now)
        text = page.body[:MAX_BYTES].decode("utf-8", "replace") if page.status == 200 else ""
        return _Rules(Protego.parse(text), "", now)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
