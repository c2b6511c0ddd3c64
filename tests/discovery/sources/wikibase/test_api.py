"""How entities are fetched: few requests, and one that cannot be read costs no other."""

import json
from datetime import date

import pytest
from discovery_helpers import EXAMPLES
from loopback import SkippedTime
from pydantic import ValidationError

from discovery.sources.observation import Partition, Signal, Since
from discovery.sources.replay.server import ReplayServer
from discovery.sources.wikibase.config import WikidataConfig
from discovery.sources.wikibase.sparql import read_items
from discovery.sources.wikibase.wikidata import WikidataSource
from infra.http.client import PoliteClient

OCTOBER = EXAMPLES / "recordings" / "october"
BASE = 9_100_000_000
LAST = date(2022, 10, 31)


@pytest.fixture
def server():
    return ReplayServer(OCTOBER)


def fetched(base, keys, known=None, as_of=LAST):
    """Observations of a partition, and the source."""
    config = WikidataConfig(name="w", endpoint=base, entities=keys, contact="a@example.org")
    source = WikidataSource(config)
    part = Partition(id="0", as_of=as_of, keys=keys, known=tuple(known or [None] * len(keys)))
    with PoliteClient(
        source="w", contact="a@example.org", rate_limit=SkippedTime().rate_limit(), min_interval_s=0
    ) as client:
        return list(source.fetch(part, client)), source


def ids(numbers):
    return tuple(f"Q{BASE + n}" for n in numbers)


def test_what_has_not_changed_costs_one_request_for_fifty(server):
    """A sweep of known revisions fetches no entity and no label."""
    with server as base:
        found, _ = fetched(base, ids(range(36)))
        revisions = {o.about: o.revision for o in found if o.kind in ("entity", "redirect")}
        before = len(server.requests)
        again, _ = fetched(base, ids(range(36)), [revisions[key] for key in ids(range(36))])
    assert len(server.requests) - before == 1
    assert {o.absent for o in again} == {"no such entity"}  # the deleted one


def test_a_first_crawl_asks_in_batches(server):
    """Thirty-six entities: a sweep, a batch, and their labels fifty at a time; the target of the
    merge is one of them."""
    with server as base:
        found, _ = fetched(base, ids(range(36)))
    labels = sum(o.kind == "labels" for o in found)
    assert sum("props=info" in r.path for r in server.requests) == 1
    assert len(server.requests) == 1 + 1 + labels


def test_an_entity_that_cannot_be_read_costs_no_other(server):
    """The server's answer is broken whenever one certain entity is in it: the others of its batch
    are found by halves, and it is a fault, which takes nothing away from what is known of it."""
    bad = ids([7])[0]
    answer = server.recording.answer

    def broken(path, query):
        status, body = answer(path, query)
        hit = query.get("action") == "wbgetentities" and bad in query.get("ids", "").split("|")
        return status, body[: len(body) // 2] if hit and "claims" in query["props"] else body

    server.recording.answer = broken
    with server as base:
        found, source = fetched(base, ids(range(16)))
    kinds = {o.about: (o.kind, o.absent) for o in found if o.kind != "labels"}
    assert kinds[bad] == ("fault", "entity is unreadable")
    assert (
        sum(kind == ("entity", None) for kind in kinds.values()) == 13
    )  # beside them one merged, one deleted
    assert [source.parse(o).facts for o in found if o.about == bad] == [()]


def test_a_label_that_cannot_be_read_costs_no_other(server):
    """An id that the API refuses makes it refuse the whole call: the others are found by halves."""
    answer = server.recording.answer
    with server as base:
        found, source = fetched(base, ids(range(16)))
        before = {e.id for o in found if o.kind == "labels" for e in source.parse(o).entities}
        bad = sorted(before)[3]

        def refusing(path, query):
            if bad in query.get("ids", "").split("|"):
                return 200, b'{"error": {"code": "no-such-entity", "info": "Invalid"}}'
            return answer(path, query)

        server.recording.answer = refusing
        found, _ = fetched(base, ids(range(16)))
    labels = [o for o in found if o.kind == "labels"]
    assert [o.about for o in labels if o.absent == "label is unreadable"] == [bad]
    named = {entity.id for o in labels for entity in source.parse(o).entities}
    assert named == before - {bad}


@pytest.mark.parametrize("value", [None, 7, "text", []])
def test_an_answer_that_holds_no_entity_where_one_is_due(server, value):
    """It is that entity's fault alone."""
    answer, bad = server.recording.answer, ids([7])[0]

    def odd(path, query):
        status, body = answer(path, query)
        if query.get("action") == "wbgetentities" and "claims" in query["props"]:
            whole = json.loads(body)
            whole["entities"][bad] = value
            body = json.dumps(whole).encode()
        return status, body

    server.recording.answer = odd
    with server as base:
        found, _ = fetched(base, ids(range(6, 9)))
    kinds = {o.about: o.kind for o in found if o.kind != "labels"}
    assert kinds.pop(bad) == "fault" and set(kinds.values()) == {"entity"}


@pytest.mark.parametrize("length", [0.5, 0.0])
def test_a_pinned_revision_that_cannot_be_read(server, length):
    """Cut off, or another thing than the entity: a fault, and the crawl goes on."""
    answer = server.recording.answer

    def cut(path, query):
        status, body = answer(path, query)
        if "EntityData" in path:
            body = body[: int(len(body) * length)] if length else b'{"entities": []}'
        return status, body

    server.recording.answer = cut
    with server as base:
        found, _ = fetched(base, ids(range(4)), as_of=date(2022, 10, 1))
    faults = [o for o in found if o.kind == "fault"]
    assert faults and {o.absent for o in faults} == {"entity is unreadable"}


def test_a_pinned_revision_that_is_a_redirect(server):
    """As one whose merge was edited after the day: its target is fetched, and a circle ends."""
    answer, (one, other) = server.recording.answer, ids((0, 1))

    def merged(path, query):
        status, body = answer(path, query)
        if "EntityData" in path:
            target = other if one in path else one
            body = json.dumps({"entities": {target: {"id": target}}}).encode()
        return status, body

    server.recording.answer = merged
    with server as base:
        found, source = fetched(base, (one,), as_of=date(2022, 10, 1))
    redirects = [entity for o in found for entity in source.parse(o).entities]
    assert [(e.id, e.redirect) for e in redirects] == [(one, other), (other, one)]


def test_an_entity_edited_between_the_sweep_and_the_batch(server):
    """What comes is then looked up as of the day, not taken for the revision that was swept."""
    key, answer = ids([5])[0], server.recording.answer

    def later(path, query):
        status, body = answer(path, query)
        if query.get("action") == "wbgetentities" and "claims" in query.get("props", ""):
            revision = server.recording._known(key)[-1]["revision"]
            body = body.replace(str(revision).encode(), b"1999999999")
        return status, body

    server.recording.answer = later
    with server as base:
        found, _ = fetched(base, (key,))
    (entity,) = (o for o in found if o.kind == "entity")
    assert entity.revision == server.recording._known(key)[-1]["revision"]
    assert "Special:EntityData" in entity.url


def test_a_merged_entity_is_a_redirect_and_its_target_is_fetched(server):
    """Though the target was not asked for."""
    ((merged, about),) = server.recording.redirects.items()
    with server as base:
        found, source = fetched(base, (merged,))
    kinds = {o.about: o.kind for o in found if o.kind != "labels"}
    assert kinds == {merged: "redirect", about["to"]: "entity"}
    (redirect,) = (o for o in found if o.kind == "redirect")
    (entity,) = source.parse(redirect).entities
    assert (entity.id, entity.redirect, entity.label) == (merged, about["to"], None)


def test_without_entities_and_query_there_is_nothing_to_watch():
    """One line that says so."""
    with pytest.raises(ValidationError, match="give entities, or a query"):
        WikidataConfig(name="w", contact="a@example.org")


def test_partitions_are_what_may_have_changed():
    """With a stream: what it told of, of what is watched, and what was never fetched; with a gap in
    it, everything."""
    config = WikidataConfig(name="w", entities=("Q1", "Q2"), stream="https://example.org/s")
    source = WikidataSource(config)
    since = Since(cursor={"at": "2022-10-01T00:00:00Z"}, revisions={"Q1": 11, "Q3": 33})

    def watched(**signal):
        parts = source.partitions(LAST, since, [Signal(cursor={}, done=True, **signal)])
        return {key: known for p in parts for key, known in zip(p.keys, p.known, strict=True)}

    assert watched(subjects=("Q3", "Q9")) == {"Q2": None, "Q3": 33}
    assert watched(selected=("Q5",)) == {"Q2": None, "Q5": None}
    assert watched(gap="silent") == {"Q1": 11, "Q2": None, "Q3": 33}


def test_a_query_may_select_other_things_than_items():
    """They are skips; items are sorted by number, once each."""

    def uri(text):
        return {"item": {"type": "uri", "value": f"http://www.wikidata.org/entity/{text}"}}

    bindings = [uri("Q10"), uri("Q9"), uri("Q10"), uri("P31"), {}]
    bindings.append({"item": {"type": "literal", "value": "Q7"}})
    selected, skips = read_items(
        {"head": {"vars": ["x", "item"]}, "results": {"bindings": bindings}}, "w"
    )
    assert selected == ("Q9", "Q10")
    assert len(skips) == 3 and {skip.reason for skip in skips} == {
        "result of the query is no item in ?item"
    }


def hostile(server, about, change):
    """The server's answers say something else of one entity, as text of JSON."""
    answer = server.recording.answer

    def changed(path, query):
        status, body = answer(path, query)
        if query.get("action") == "wbgetentities" and about in query["ids"].split("|"):
            whole = json.loads(body)
            whole["entities"][about]["here"] = "?"
            body = json.dumps(whole).replace('"here": "?"', change).encode()
        return status, body

    server.recording.answer = changed


HUGE = "x" * 10_000_000
LONG = f'"labels": {{"en": {{"value": "{HUGE}"}}}}, "aliases": {{"en": [{{"value": "{HUGE}"}}]}}'


@pytest.mark.parametrize("kind", ["entity", "labels"])
def test_names_of_hostile_size(server, kind):
    """A label and an alias of ten megabytes are no names, of a subject or an object; all that is
    said besides is there."""
    with server as base:
        before, source = fetched(base, ids(range(3)))
        named = {
            e.id for o in before if o.kind == kind for e in source.parse(o).entities if e.label
        }
        hostile(server, sorted(named)[0], LONG)
        found, _ = fetched(base, ids(range(3)))
    parsed = [source.parse(o) for o in found]
    assert [p.facts for p in parsed] == [source.parse(o).facts for o in before]
    nameless = {e.id for p in parsed for e in p.entities if e.label is None}
    assert sorted(named)[0] in nameless and len(named - nameless) == len(named) - 1
    reasons = [skip.reason for p in parsed for skip in p.skips]
    assert reasons.count("name is longer than 1000 characters") == 2
    assert all(len(skip.sample) <= 200 for p in parsed for skip in p.skips)


@pytest.mark.parametrize("depth", [900, 100_000])
def test_depths_that_no_entity_has(server, depth):
    """An entity nested deeper than can be read is a fault of its own; one that can be read is."""
    bad = ids([1])[0]
    hostile(server, bad, '"deep": ' + "[" * depth + "]" * depth)
    with server as base:
        found, source = fetched(base, ids(range(4)))
    kinds = {o.about: o.kind for o in found if o.kind != "labels"}
    assert kinds[bad] == ("entity" if depth == 900 else "fault")
    assert all(source.parse(o).facts for o in found if o.kind == "entity" and not o.absent)
    assert list(kinds.values()).count("entity") >= 2


@pytest.mark.parametrize("value", [None, 7, "text", []])
def test_an_answer_that_holds_no_label_where_one_is_due(server, value):
    """It is that object's fault alone: the others are named."""
    with server as base:
        before, source = fetched(base, ids(range(3)))
        named = {e.id for o in before if o.kind == "labels" for e in source.parse(o).entities}
        bad, answer = sorted(named)[0], server.recording.answer

        def odd(path, query):
            status, body = answer(path, query)
            if bad in query.get("ids", "").split("|"):
                whole = json.loads(body)
                whole["entities"][bad] = value
                body = json.dumps(whole).encode()
            return status, body

        server.recording.answer = odd
        found, _ = fetched(base, ids(range(3)))
    labels = [source.parse(o) for o in found if o.kind == "labels"]
    assert {e.id for parsed in labels for e in parsed.entities if e.label} == named - {bad}
