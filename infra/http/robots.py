"""robots.txt (RFC 9309): which addresses of a site a crawler keeps out of, and how fast it may go.

The longest match wins and a group for our product token comes before `*` (protego reads the file).
What cannot be fetched says something too: HTTP 4xx opens the site; HTTP 5xx and silence close it.
`Crawl-delay` is no part of the RFC and honoured by custom.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from protego import Protego

from infra.files.atomic import write_atomic
from infra.http.addresses import origin_of

PRODUCT = "corrigenda"
"""Our product token (RFC 9309 section 2.2.1)."""
MAX_PARSED_BYTES = 500 * 2**10
"""What a crawler must be able to parse (section 2.5); what comes after it is not read."""
MAX_AGE_S = 24 * 3600.0
"""How long a file counts (section 2.4)."""
CLOSED_AGE_S = 300.0
"""How long a site counts as closed because its file could not be had."""
MAX_DELAY_S = 600.0
"""Longest Crawl-delay that is waited for; a site that asks for more is closed to us."""


Fetch = Callable[[str], tuple[int, bytes] | str]
"""From the URL of a robots.txt to its status and body, or to why it cannot be had."""


@dataclass(frozen=True)
class Rules:
    """What one site says."""

    text: str
    """Its file, empty where everything is allowed."""
    fetched_s: float
    closed: str = ""
    """Why the whole site is closed, or nothing."""
    _parsed: Protego = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parsed", Protego.parse(self.text))

    @property
    def delay_s(self) -> float:
        """Seconds between the starts of two requests."""
        return self._parsed.crawl_delay(PRODUCT) or 0.0

    def refusal(self, url: str) -> str:
        """Why `url` must not be fetched, as a line without its source, or nothing."""
        site = f"robots.txt of {origin_of(url)}"
        if self.closed:
            return (
                f"{site} cannot be had ({self.closed}), so nothing of it may be fetched (RFC "
                "9309). Run the same command later."
            )
        if self.delay_s > MAX_DELAY_S:
            return f"{site} asks for {self.delay_s:g} s between requests. Leave the site out."
        if not self._parsed.can_fetch(url, PRODUCT):
            return f"{site} does not allow {url}. Leave it out, or ask its operator."
        return ""

    def is_fresh(self, now_s: float) -> bool:
        age_s = now_s - self.fetched_s
        return 0 <= age_s < (CLOSED_AGE_S if self.closed else MAX_AGE_S)


class Robots:
    """The rules of every site that a crawler meets, fetched when they are first needed.

    directory  where rules are kept for the next process, None for not at all
    clock      seconds since 1970
    """

    def __init__(self, directory: Path | None, clock: Callable[[], float]) -> None:
        self._directory, self._clock = directory, clock
        self._rules: dict[str, Rules] = {}

    def of(self, url: str, fetch: Fetch) -> Rules:
        """The rules of the site that `url` is on."""
        origin = origin_of(url)
        for known in (self._rules.get(origin), self._load(origin)):
            if known is not None and known.is_fresh(self._clock()):
                self._rules[origin] = known
                return known
        rules = self._rules[origin] = self._ask(origin, fetch)
        self._save(origin, rules)
        return rules

    def _ask(self, origin: str, fetch: Fetch) -> Rules:
        answer, now_s = fetch(f"{origin}/robots.txt"), self._clock()
        if isinstance(answer, str):
            return Rules("", now_s, answer)
        status, body = answer
        if 200 <= status < 300:
            if len(body) > MAX_PARSED_BYTES:  # a rule that is cut off says something else
                body = body[: body.rfind(b"\n", 0, MAX_PARSED_BYTES) + 1]
            return Rules(body.decode("utf-8-sig", "replace"), now_s)
        if 400 <= status < 500:
            return Rules("", now_s)
        return Rules("", now_s, f"HTTP {status}")

    def _load(self, origin: str) -> Rules | None:
        if self._directory is None:
            return None
        try:
            kept = json.loads(self._path(origin).read_text(encoding="utf-8"))
            return Rules(**kept["rules"]) if kept["origin"] == origin else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _save(self, origin: str, rules: Rules) -> None:
        if self._directory is None or rules.closed:
            return
        kept = {"text": rules.text, "fetched_s": rules.fetched_s}
        text = json.dumps({"origin": origin, "rules": kept})
        write_atomic(self._path(origin), partial(_write, text))

    def _path(self, origin: str) -> Path:
        stem = hashlib.sha256(origin.encode()).hexdigest()
        return (self._directory or Path()) / f"{stem}.robots.json"


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
