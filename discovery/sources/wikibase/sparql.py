"""Run a SPARQL query, and read the ids of the items that it selects.

The format is SPARQL 1.1 Query Results JSON. The items are the values of the variable `item`, or
else of the first variable. A query is sent by GET, a long one by POST (SPARQL 1.1 Protocol sections
2.1.1 and 2.1.2). Wikidata's endpoint stops a query after 60 s. Virtuoso sends the part of the
results that it has found by then, and cuts longer results, both of which it tells in headers only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from discovery.sources.observation import MAX_SAMPLE, Skip
from infra.errors import SourceError
from infra.http.client import PoliteClient
from infra.http.faults import UNSURE_TRIES, HostFault
from infra.http.response import Response

ITEM = re.compile(r"https?://[^/]+/entity/(Q[1-9]\d{0,14})")
VARIABLE = "item"
ACCEPT = "application/sparql-results+json, application/json;q=0.9"
PARTIAL = 206
"""Status by which Virtuoso answers with a part of the results."""


def select_items(
    client: PoliteClient, endpoint: str, query: str, source: str, *, sent: str | None = None
) -> tuple[tuple[str, ...], tuple[Skip, ...]]:
    """Ids of the items that the query selects, sorted, and skips for results that are no items.

    sent  the query with its secrets; None where it has none

    Raises SourceError, also for results that are not all.
    """
    value, page = client.get_json(
        endpoint,
        {"query": query, "format": "json"},
        private=None if sent in (None, query) else {"query": sent, "format": "json"},
        by_post=True,
        headers={"Accept": ACCEPT},
        allow=(PARTIAL,),
        fault=lambda value, response: _stopped(endpoint, response),
        setting="query_endpoint",
    )
    try:
        found = read_items(value, source)
        num, most = len(value["results"]["bindings"]), page.headers.get("x-sparql-maxrows", "")
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise SourceError(
            f"source {source}: {endpoint} does not answer with SPARQL results ({error!r}). Check "
            "`query_endpoint`, and that the query is a SELECT."
        ) from error
    if most.isdecimal() and num >= int(most):
        raise SourceError(
            f"source {source}: {endpoint} cuts the query's results at {most}. Narrow `query`, or "
            "divide it over several sources."
        )
    return found


def _stopped(endpoint: str, response: Response) -> HostFault | None:
    """The fault of an endpoint that stopped the query and sent what it had found; None if it did
    not. At another time the query may be done sooner."""
    state = response.headers.get("x-sql-state")
    if response.status != PARTIAL and not state:
        return None
    what = f"{endpoint} stopped the query and sent a part of its results ({state or 'HTTP 206'})"
    error = SourceError(f"{what}. Narrow `query`, or run the same command later.")
    return HostFault(what=what, tries=UNSURE_TRIES, error=error)


def read_items(value: Mapping[str, Any], source: str) -> tuple[tuple[str, ...], tuple[Skip, ...]]:
    """The items in a results object, and skips for results that are no items.

    Raises KeyError, TypeError, IndexError or AttributeError for an object in another format.
    """
    names = value["head"]["vars"]
    name = VARIABLE if VARIABLE in names else names[0]
    found: set[str] = set()
    skips = []
    for binding in value["results"]["bindings"]:
        term = binding.get(name)
        match = term and term["type"] == "uri" and ITEM.fullmatch(term["value"])
        if match:
            found.add(match[1])
        else:
            sample = json.dumps(term, ensure_ascii=False)[:MAX_SAMPLE]
            skips.append(Skip(source, f"result of the query is no item in ?{name}", sample))
    return tuple(sorted(found, key=lambda key: int(key[1:]))), tuple(skips)
