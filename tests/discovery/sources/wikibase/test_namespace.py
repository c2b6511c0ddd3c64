"""Items are found in whichever namespace a Wikibase has them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from dump_helpers import item
from loopback import QuietHandler, on_loopback
from wikibase_site import site_of

from discovery.sources.observation import Observation, Partition
from discovery.sources.wikibase.config import WikidataConfig
from discovery.sources.wikibase.mediawiki import MAIN, Namespace, ask_site
from discovery.sources.wikibase.recent_changes import read_event
from discovery.sources.wikibase.wikidata import WikidataSource
from infra.http.client import PoliteClient
from infra.http.limits.rate_limit import LocalRateLimit

DAY = date(2023, 6, 30)
FORMS = [(0, None), (120, None), (120, "Objekt:"), (860, "Élément:")]
"""Number of the namespace and prefix: Wikidata's, the default, and others' languages."""


def entities(*keys: str, modified: str = "2023-01-01T00:00:00Z") -> dict[str, Any]:
    return {key: item(key, lastrevid=10 + n, modified=modified) for n, key in enumerate(keys)}


def client() -> PoliteClient:
    return PoliteClient(
        source="own", contact="a@example.org", rate_limit=LocalRateLimit(), min_interval_s=0
    )


def fetched(site: type[QuietHandler], *keys: str, known: Any = None) -> list[Observation]:
    with on_loopback(site) as base, client() as http:
        config = WikidataConfig(name="own", endpoint=base, entities=keys, contact="a@example.org")
        revisions = tuple((known or {}).get(key) for key in keys)
        part = Partition(id="0", as_of=DAY, keys=keys, known=revisions)
        return list(WikidataSource(config).fetch(part, http))


@pytest.mark.parametrize(("number", "prefix"), FORMS)
def test_items_are_fetched(number: int, prefix: str | None) -> None:
    """A current one with its revision, and an absent one as absent."""
    site = site_of(entities("Q1", "Q2"), namespace=number, prefix=prefix)
    found = {o.about: o for o in fetched(site, "Q1", "Q2", "Q3") if o.kind != "labels"}
    assert {key: o.absent for key, o in found.items()} == {
        **{"Q1": None, "Q2": None, "Q3": "no such entity"},
    }
    assert (found["Q2"].revision, found["Q2"].user) == (11, "Ada")


@pytest.mark.parametrize(("number", "prefix"), FORMS)
def test_a_revision_of_the_day_is_fetched(number: int, prefix: str | None) -> None:
    """Of an item that was edited after the day the revision before is asked for by its title."""
    late = entities("Q1", modified="2024-01-01T00:00:00Z")
    site = site_of(late, namespace=number, prefix=prefix)
    (found,) = [o for o in fetched(site, "Q1") if o.kind != "labels"]
    assert (found.kind, found.absent, found.revision) == ("entity", None, 10)
    assert "Special:EntityData/Q1" in found.url


def test_a_page_of_the_main_namespace_is_no_item() -> None:
    """An article may be called Q1."""
    revision = {"revid": 99, "timestamp": "2023-01-01T00:00:00Z", "user": "Bo"}
    article = {"title": "Q1", "ns": 0, "contentmodel": "wikitext", "revisions": [revision]}
    site = site_of(entities("Q1"), namespace=120, pages={"Q1": article})
    (found,) = [o for o in fetched(site, "Q1") if o.kind != "labels"]
    assert (found.absent, found.revision) == (None, 10)


def test_what_has_not_changed_is_not_fetched() -> None:
    """The namespace costs one request, where no item was found in the main one."""
    for number, requests in ((0, 1), (120, 3)):
        site: Any = site_of(entities("Q1", "Q2"), namespace=number)
        assert fetched(site, "Q1", "Q2", known={"Q1": 10, "Q2": 11}) == []
        assert len(site.asked) == requests


def test_a_merged_item_is_found() -> None:
    """The namespace is that of the item that it was merged into."""
    both = entities("Q1", "Q2")
    merged = {"redirect": "Q2", "lastrevid": 12, "modified": "2023-02-01T00:00:00Z"}
    site = site_of({**both, "Q1": merged}, namespace=120)
    found = {o.about: o.kind for o in fetched(site, "Q1") if o.kind != "labels"}
    assert found == {"Q1": "redirect", "Q2": "entity"}


@pytest.mark.parametrize("odd", [[], None, "text", {"P31": 7}])
def test_an_entity_without_its_statements(odd: Any) -> None:
    """No map of statements is a fault, which takes nothing away; an empty list is an empty map."""
    broken = entities("Q1")
    broken["Q1"]["claims"] = odd
    (found,) = [o for o in fetched(site_of(broken), "Q1") if o.kind != "labels"]
    assert found.kind == ("entity" if odd == [] or isinstance(odd, dict) else "fault")


@pytest.mark.parametrize(("number", "prefix"), FORMS)
def test_the_site_says_where_its_items_are(number: int, prefix: str | None) -> None:
    """By the content model of its namespaces, whatever these are called."""
    with on_loopback(site_of({}, namespace=number, prefix=prefix)) as base, client() as http:
        site = ask_site(http, base, "own")
    expected = prefix if prefix is not None else ("Item:" if number else "")
    assert site.items == Namespace(number, expected)
    assert site.concepts == "http://localhost/entity/"


@pytest.mark.parametrize(
    ("namespace", "title", "number", "item"),
    [
        (MAIN, "Q1", 0, "Q1"),
        (MAIN, "Item:Q1", 120, None),
        (Namespace(120, "Item:"), "Item:Q1", 120, "Q1"),
        (Namespace(120, "Item:"), "Q1", 0, None),
        (Namespace(120, "Item:"), "Item talk:Q1", 121, None),
        (Namespace(120, "Item:"), "Item:Main Page", 120, None),
    ],
)
def test_events_of_items(namespace: Namespace, title: str, number: int, item: str | None) -> None:
    """The stream of changes names pages, of which those of items count."""
    event = {
        **{"meta": {"dt": "2023-01-01T00:00:00Z", "domain": "x"}, "wiki": "own", "type": "edit"},
        **{"title": title, "namespace": number, "revision": {"new": 5}},
    }
    change = read_event(json.dumps(event), "own", namespace)
    assert change is not None and change.item == item
