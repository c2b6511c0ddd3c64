"""Independent voices behind a fact: whoever states it by themselves.

A voice is the registrable domain of a reference, a work that the fact is stated in, or another
source of ours that states the same. Quorum is a number of voices.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from tld import get_fld

CIRCULAR = frozenset({"wikidata.org", "wikipedia.org", "wikimedia.org", "dbpedia.org"})
"""Domains that are no evidence, as anybody may have written there what the source then repeats. For
the same reason P143 (imported from) does not count."""
_ITEM = re.compile(r"Q[1-9]\d*")


def domains(references: Iterable[str]) -> frozenset[str]:
    """Registrable domains (public suffix and one label) of the references that are URLs.

    By the public suffix list that the package `tld` contains; nothing is fetched.
    """
    found = (_registrable(text) for text in references if "://" in text)
    return frozenset(domain for domain in found if domain and domain not in CIRCULAR)


def voices(references: Iterable[str], agreeing: Iterable[str] = ()) -> frozenset[str]:
    """The independent voices behind a fact: domains, ids of works, and `source NAME`.

    references  URLs and `stated in` (P248) items
    agreeing    names of other sources that state the same
    """
    references = tuple(references)
    works = {text for text in references if _ITEM.fullmatch(text)}
    return domains(references) | works | {f"source {name}" for name in agreeing}


def _registrable(url: str) -> str | None:
    """The registrable domain of a URL, None where the URL is malformed, its host is an IP address
    or has no public suffix."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return _of_host(host) if host else None


@lru_cache(maxsize=1 << 16)
def _of_host(host: str) -> str | None:
    return get_fld(f"http://{host}", fail_silently=True)
