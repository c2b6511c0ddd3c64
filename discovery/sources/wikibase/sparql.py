"""Run a SPARQL query, and read the ids of the items that it selects.

The format is SPARQL 1.1 Query Results JSON. The items are the values of the variable `item`, or
else of the first variable. Wikidata's endpoint stops a query after 60 s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from discovery.sources.observation import MAX_SAMPLE, Skip
from infra.errors import SourceError
from infra.http.client import PoliteClient

ITEM = re.compile(r"https?://[^/]+/entity/(Q[1-9]\d{0,14})")
VARIABLE = "item"


def select_items(
    client: PoliteClient, endpoint: str, query: str, source: str
) -> tuple[tuple[str, ...], tuple[Skip, ...]]:
    """Ids of the items that the query selects, sorted, and skips for results that are no items.

    Raises SourceError.
    """
    value, page = client.get_json(endpoint, {"query": query, "format": "json"})
    try:
        return read_items(value, source)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise SourceError(
            f"source {source}: {page.url} does not answer with SPARQL results ({error!r}). Check "
            "`query_endpoint`, and that the query is a SELECT."
        ) from error


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
