"""robots.txt (RFC 9309): which addresses of a site a crawler may fetch, and how fast.

protego parses the file: the longest match counts, and a group for our product token comes before
the group `*`. If robots.txt is missing (HTTP 4xx) everything is allowed; if it cannot be fetched
(HTTP 5xx, unreachable) nothing is. `Crawl-delay` is not in the RFC; we obey it because it is common
practice.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from protego import Protego

from infra.files.notes import if_writable, read_note, write_note
from infra.http.addresses import origin_of, shown

log = logging.getLogger(__name__)

PRODUCT = "corrigenda"
"""Our product token (RFC 9309 section 2.2.1)."""
MAX_PARSED_BYTES = 500 * 2**10
"""Bytes of a robots.txt that are read; the RFC asks for at least 500 kibibytes (section 2.5)."""
MAX_AGE_S = 24 * 3600.0
"""Seconds that a robots.txt is valid (section 2.4)."""
FAILURE_AGE_S = 300.0
"""Seconds until a robots.txt that could not be fetched is tried again."""
MAX_DELAY_S = 600.0
"""Seconds of the longest Crawl-delay that we wait for, unless the config says otherwise; a site
that asks for more is not fetched."""

SUFFIX = ".robots"
"""Ending of the files that rules are stored in."""

Fetch = Callable[[str], tuple[int, bytes] | str]
"""Takes the URL of a robots.txt; returns its status and body, or why it cannot be fetched."""


@dataclass(frozen=True)
class Rules:
    """The rules of one site."""

    text: str
    """Its robots.txt, empty where everything is allowed."""
    fetched_s: float
    """When it was fetched, in seconds since 1970."""
    failure: str = ""
    """Why robots.txt could not be fetched, so that the whole site is closed; empty if it was."""
    _parsed: Protego = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse the file."""
        object.__setattr__(self, "_parsed", Protego.parse(self.text))

    @property
    def delay_s(self) -> float:
        """Seconds between the starts of two requests that the site asks for."""
        return self._parsed.crawl_delay(PRODUCT) or 0.0

    def refusal(self, url: str, max_delay_s: float = MAX_DELAY_S) -> str:
        """Why `url` must not be fetched, in words for an error; empty if it may be."""
        site = f"robots.txt of {origin_of(url)}"
        if self.failure:
            return (
                f"{site} cannot be had ({self.failure}), so nothing of it may be fetched (RFC "
                "9309). Run the same command later."
            )
        if self.delay_s > max_delay_s:
            return (
                f"{site} asks for {self.delay_s:g} s between requests, and at most {max_delay_s:g} "
                "s are waited (`max_crawl_delay_s`). Leave the site out, or raise that."
            )
        if not self._parsed.can_fetch(url, PRODUCT):
            return f"{site} does not allow {shown(url)}. Leave it out, or ask its operator."
        return ""

    def is_fresh(self, now_s: float) -> bool:
        """Whether the rules are still valid at `now_s`, in seconds since 1970."""
        age_s = now_s - self.fetched_s
        return 0 <= age_s < (FAILURE_AGE_S if self.failure else MAX_AGE_S)


class Robots:
    """The rules of every site that a crawler visits, fetched when they are first needed."""

    def __init__(self, directory: Path | None, clock: Callable[[], float]) -> None:
        """
        directory  where rules are stored for later processes; None stores none
        clock      seconds since 1970
        """
        self._directory, self._clock = directory, clock
        self._rules: dict[str, Rules] = {}

    def of(self, url: str, fetch: Fetch) -> Rules:
        """The rules of the site that `url` is on, fetched where no valid ones are known."""
        origin = origin_of(url)
        for known in (self._rules.get(origin), self._load(origin)):
            if known is not None and known.is_fresh(self._clock()):
                self._rules[origin] = known
                return known
        rules = self._rules[origin] = self._request(origin, fetch)
        self._save(origin, rules)
        return rules

    def _request(self, origin: str, fetch: Fetch) -> Rules:
        """Fetch a site's robots.txt, and decide what its status means."""
        result, now_s = fetch(f"{origin}/robots.txt"), self._clock()
        if isinstance(result, str):
            return Rules("", now_s, result)
        status, body = result
        if 200 <= status < 300:
            if len(body) > MAX_PARSED_BYTES:  # half a rule could mean something else
                body = body[: body.rfind(b"\n", 0, MAX_PARSED_BYTES) + 1]
            return Rules(body.decode("utf-8-sig", "replace"), now_s)
        if 400 <= status < 500:
            return Rules("", now_s)
        return Rules("", now_s, f"HTTP {status}")

    def _load(self, origin: str) -> Rules | None:
        """The stored rules of a site; None where they are missing or, with a line, damaged."""
        path = self._path(origin)
        if self._directory is None or not path.exists():
            return None
        stored = read_note(path)
        if stored is None or stored["origin"] != origin:
            log.warning("%s is damaged: it is fetched again", path)
            return None
        return Rules(**stored["rules"])

    def _save(self, origin: str, rules: Rules) -> None:
        """Store a site's rules, unless its robots.txt could not be fetched. Where they cannot be
        written, a warning says so."""
        if self._directory is None or rules.failure:
            return
        fields = {"text": rules.text, "fetched_s": rules.fetched_s}
        path = self._path(origin)
        with if_writable(path):
            write_note(path, {"origin": origin, "rules": fields})

    def _path(self, origin: str) -> Path:
        """The file of a site's stored rules."""
        stem = hashlib.sha256(origin.encode()).hexdigest()
        return (self._directory or Path()) / f"{stem}{SUFFIX}"


def damaged_rules(directory: Path) -> list[Path]:
    """Files of stored rules in a directory that are cut or altered, which are fetched again."""
    return [path for path in sorted(directory.glob(f"[!.]*{SUFFIX}")) if read_note(path) is None]
