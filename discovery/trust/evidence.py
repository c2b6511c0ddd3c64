"""Independent voices behind a fact: domains of its references, works it is stated in, sources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from tld import get_fld

CIRCULAR = frozenset({"wikidata.org", "wikipedia.org", "wikimedia.org", "dbpedia.org"})
"""Domains that repeat what the public wrote into the sources themselves; like P143 (imported from)
they are no evidence."""
_ITEM = re.compile(r"Q[1-9]\d*")


def domains(references: Iterable[str]) -> frozenset[str]:
    """Registrable domains (public suffix and one label) of the references that are URLs.

    By the public suffix list that `tld` brings; nothing is fetched.
    """
    found = (_registrable(text) for text in references if "://" in text)
    return frozenset(domain for domain in found if domain and domain not in CIRCULAR)


def voices(references: Iterable[str], agreeing: Iterable[str] = ()) -> frozenset[str]:
    """Whom a fact can be believed from, each once.

    references  URLs and `stated in` (P248) items
    agreeing    names of other sources that say the same
    """
    references = tuple(references)
    works = {text for text in references if _ITEM.fullmatch(text)}
    return domains(references) | works | {f"source {name}" for name in agreeing}


def _registrable(url: str) -> str | None:
    """Of a URL, None where it is malformed, an address of numbers, or of no public suffix."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return _of_host(host) if host else None


@lru_cache(maxsize=1 << 16)
def _of_host(host: str) -> str | None:
    return get_fld(f"http://{host}", fail_silently=True)
