"""Trust: each rule by itself, at its edges, with an injected clock; and what a person may lift."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any

import pytest
from discovery_helpers import make_fact
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from discovery.dates import days
from discovery.fact import Change, Entity
from discovery.sources.table import TableConfig
from discovery.sources.wikidata import WikidataConfig
from discovery.trust.assess import SEVERITY, Assessment, Court, Finding, end_of
from discovery.trust.breaker import activity, anomalies, rates
from discovery.trust.config import (
    RevertRiskConfig,
    SourceTrust,
    Standing,
    TrustConfig,
    sensitive,
    standings,
)
from discovery.trust.evidence import domains, voices
from discovery.trust.revert_risk import scores, to_rate
from discovery.trust.subjects import Subjects
from discovery.verbalise import load_relations
from infra.budget import LocalBudget
from infra.http import PoliteClient

RELATIONS = load_relations()
DAY = date(2023, 6, 30)
NOW = end_of(DAY)
TWO = ("https://www.bbc.co.uk/a", "https://lemonde.fr/b")
OWN = Standing(1.0)


def change(**more: Any) -> Change:
    """Q1's head of government is Q2, by Wikidata, with two references, long ago."""
    fields: dict[str, Any] = {
        "id": "00000000000000ab",
        "kind": "replace",
        "rule": "11",
        "reason": "",
        "subject": "Q1",
        "subject_label": "Town",
        "relation": "P6",
        "value_type": "entity",
        "new_value": "Q2",
        "new_label": "Ann",
        "source": "wd",
        "revision_new": 5,
        "revision_time": "2023-06-01T00:00:00Z",
        "references": TWO,
        **more,
    }
    return Change(**fields)


def assess(c: Change, *, anew: bool = True, config: Any = None, **more: Any) -> Assessment:
    subjects = more.pop("subjects", Subjects.of([], day=days(DAY)))
    court = Court(
        config=TrustConfig(**(config or {})),
        now=NOW,
        subjects=subjects,
        relations=RELATIONS,
        **more,
    )
    return court.assess(c, anew=anew)


def test_what_has_stood_with_two_voices_is_eligible_and_says_why() -> None:
    """The default policy on a sound change; every rule that looked at it tells what it found."""
    found = assess(change())
    assert found.state == "eligible"
    assert found.rules == ("cool-down", "quorum")
    assert "2 of 2 independent voices (bbc.co.uk, lemonde.fr)" in found.reasons


@pytest.mark.parametrize(
    ("hours", "config", "state"),
    [
        (71.9, {}, "cooling"),
        (72, {}, "eligible"),
        (10, {"cool_down_h": 9}, "eligible"),
        (10, {"relations": {"P6": {"cool_down_h": 11}}}, "cooling"),
        (100, {"relations": {"P6": {"cool_down_h": 101}}}, "cooling"),
        (10, {"sources": {"wd": {"cool_down_h": 9}}}, "eligible"),
        (10, {"sources": {"wd": {"cool_down_h": 9}}, "relations": {"P6": {"cool_down_h": 11}}}, 0),
    ],
)
def test_cool_down(hours: float, config: Any, state: Any) -> None:
    """By the hour, of the relation before the source before all; until when is said."""
    at = (NOW - timedelta(hours=hours)).isoformat()
    found = assess(change(revision_time=at), config=config)
    assert found.state == (state or "cooling")
    if found.state == "cooling":
        assert found.decisive[0][0] == "cool-down" and "until 2023-07-0" in found.decisive[0][1]


def test_a_newer_revision_begins_the_cool_down_again() -> None:
    """The same change, touched yesterday."""
    assert assess(change()).state == "eligible"
    touched = replace(change(), revision_new=6, revision_time="2023-06-30T12:00:00Z")
    assert assess(touched).state == "cooling"


@pytest.mark.parametrize("text", ["2023-07-01T00:06:00Z", "yesterday", ""])
def test_clock_skew_is_held(text: str) -> None:
    """A revision from after the edition's day, or of no time at all, even of the team's own."""
    for standing in (Standing(), OWN):
        found = assess(change(revision_time=text), standings={"wd": standing})
        assert (found.state, found.rules[0]) == ("held", "clock")
    assert assess(change(revision_time="2023-07-01T00:04:00Z")).state == "cooling"


@pytest.mark.parametrize(
    ("references", "heard"),
    [
        ((), set()),
        (("https://a.bbc.co.uk/x", "http://news.bbc.co.uk/y"), {"bbc.co.uk"}),
        (TWO, {"bbc.co.uk", "lemonde.fr"}),
        (("Q5375741", "Q5375741"), {"Q5375741"}),
        (("Q1", "Q2", "https://nndb.com"), {"Q1", "Q2", "nndb.com"}),
        (("https://en.wikipedia.org/wiki/X", "https://www.wikidata.org/wiki/Q1"), set()),
        (
            ("http://localhost/a", "http://10.0.0.1/", "no address", "https://", "http://[bad"),
            set(),
        ),
    ],
)
def test_voices(references: tuple[str, ...], heard: set[str]) -> None:
    """Registrable domains and works, each once; what repeats the public's own writing is none."""
    assert voices(references) == heard
    assert domains(references) == {name for name in heard if not name.startswith("Q")}


def test_quorum() -> None:
    """One voice is held; another source that says the same is a voice, one that differs is not."""
    alone = change(references=TWO[:1])
    found = assess(alone)
    assert found.state == "held" and found.decisive == [
        ("quorum", "1 of 2 independent voices (bbc.co.uk)")
    ]
    for value, state in (("Q2", "eligible"), ("Q3", "held")):
        others = Subjects.of([make_fact(value, source="registry")], day=days(DAY))
        assert assess(alone, subjects=others).state == state
    old = Subjects.of([make_fact("Q2", source="registry", end="2020")], day=days(DAY))
    assert assess(alone, subjects=old).state == "held"
    assert assess(alone, config={"quorum": 1}).state == "eligible"
    assert assess(alone, config={"sources": {"wd": {"quorum": 1}}}).state == "eligible"
    assert assess(change(), config={"relations": {"P6": {"quorum": 3}}}).state == "held"


def test_a_teams_own_table_is_trusted_by_configuration() -> None:
    """Without references or dates; the config may say that it is not."""
    sources: Any = (
        TableConfig(name="wd", path="a.csv"),
        WikidataConfig(name="site", entities=("Q1",)),
    )
    known = standings(sources, TrustConfig())
    assert known == {"wd": Standing(1.0), "site": Standing(0.5)}
    row = change(references=(), revision_time=None, revision_new=None)
    assert assess(row, standings=known).state == "eligible"
    distrusted = TrustConfig(sources={"wd": SourceTrust(base_trust=0.4)})
    assert assess(row, standings=standings(sources, distrusted)).state == "held"
    nothing = TrustConfig(sources={"wd": SourceTrust(base_trust=0)})
    found = assess(row, standings=standings(sources, nothing))
    assert ("source", "source wd has no trust of its own: a person has to look") in found.decisive


def test_pages_and_feeds_are_always_held() -> None:
    """However many voices they have."""
    found = assess(change(), standings={"wd": Standing(0.9, quarantined=True)})
    assert (found.state, found.rules[0]) == ("held", "source")


PERSON = Entity(id="Q1", label="Ann", types=("Q5",), source="wd")


def person(*facts: Any, types: tuple[str, ...] = ("Q5",)) -> Subjects:
    return Subjects.of(facts, [replace(PERSON, types=types)], day=days(DAY))


BORN = make_fact("1950", relation="P569", value_type="time")


@pytest.mark.parametrize(
    ("facts", "types", "living"),
    [
        ((), ("Q5",), True),
        ((BORN,), ("Q5",), True),
        ((make_fact("1850", relation="P569", value_type="time"),), ("Q5",), False),
        ((make_fact("1904", relation="P569", value_type="time"),), ("Q5",), True),
        ((BORN, make_fact("2020", relation="P570", value_type="time")), ("Q5",), False),
        ((BORN, make_fact("", relation="P570", snaktype="somevalue")), ("Q5",), False),
        ((make_fact("no date", relation="P569"),), ("Q5",), True),
        ((), ("Q515",), False),
        ((), (), True),
    ],
)
def test_who_may_be_living(facts: Any, types: tuple[str, ...], living: bool) -> None:
    """Human, no date of death, a birth that is unknown or less than 120 years ago; of a subject
    without types, by what the relation speaks of."""
    found = assess(change(relation="P54"), subjects=person(*facts, types=types))
    wanted = "2 of 3" if living else "2 of 2"
    assert any(wanted in reason for reason in found.reasons)
    assert found.state == ("held" if living else "eligible")


def test_sensitive_properties_of_living_persons() -> None:
    """Denied for ever, or for a person to look at unless the source is the team's own; of the dead
    they are facts like others."""
    three = (*TWO, "Q9")
    for relation, rule in sensitive().items():
        c = change(relation=relation, references=three)
        found = assess(c, subjects=person())
        assert (found.state, found.rules[0]) == (
            "rejected" if rule.action == "deny" else "held",
            "living person",
        )
        dead = person(make_fact("2020", relation="P570"))
        assert assess(c, subjects=dead).state == "eligible"
        own = assess(c, subjects=person(), standings={"wd": OWN})
        assert own.state == ("rejected" if rule.action == "deny" else "eligible")
        approved = assess(c, subjects=person(), config={"approve": [c.id]})
        assert approved.state == ("rejected" if rule.action == "deny" else "eligible")


def test_contradicting_sources_are_named_with_their_values() -> None:
    """Two sources, two values of a functional group."""
    c = change(
        kind="conflict",
        rule="2",
        new_value=None,
        new_label=None,
        old_values=("Q2", "Q3"),
        old_labels=("Ann", "Bob"),
        references=(),
    )
    facts = [make_fact("Q2", references=TWO), make_fact("Q3", source="people")]
    subjects = Subjects.of(facts, day=days(DAY), functional=["P6"])
    found = assess(c, subjects=subjects, standings={"people": OWN, "wd": OWN})
    assert found.decisive == [("contradiction", "sources disagree: wd: Ann; people: Bob")]
    one = Subjects.of([make_fact("Q2"), make_fact("Q3")], day=days(DAY))
    assert assess(c, subjects=one, standings={"wd": OWN}).state == "eligible"  # to be contested
    assert "quorum" in assess(c, subjects=subjects).rules  # each value needs its voices


RISK = {"revert_risk": {"contact": "a@b.org", "limit": 0.5}}


def test_revert_risk() -> None:
    """Above the limit held; at it not; unrated is neutral: it lifts no other rule and ranks below
    what was rated safe."""
    assert assess(change(), config=RISK, scores={5: 0.51}).state == "held"
    assert assess(change(), config=RISK, scores={5: 0.5}).state == "eligible"
    unrated, safe = (assess(change(), config=RISK, scores=s) for s in ({}, {5: 0.01}))
    assert unrated.state == "eligible" and "the revision was not rated" in unrated.reasons
    assert unrated.weight < safe.weight
    lone = change(references=())
    assert assess(lone, config=RISK, scores={5: 0.0}).state == "held"
    before = {change().id: [Finding("held", "revert risk", "it was 0.9")]}
    assert assess(change(), config=RISK, lasting=before, anew=False).state == "held"
    assert assess(change(), config=RISK, lasting=before, scores={5: 0.1}).state == "eligible"


@pytest.fixture()
def lift_wing() -> Iterator[tuple[str, list[Any]]]:
    """A service on loopback: rates even revisions, does not know odd ones, is broken at 100."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            asked.append((self.path, self.headers["User-Agent"], json.loads(self.rfile.read(size))))
            revision = asked[-1][2]["rev_id"]
            status = 200 if revision % 2 == 0 else 422
            value: Any = {"output": {"probabilities": {"true": revision / 10, "false": 0}}}
            value = [] if revision == 100 else value
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/lw/", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_service_is_asked_politely_and_what_it_cannot_rate_is_missing(
    lift_wing: tuple[str, list[Any]],
) -> None:
    """Over real HTTP: model and revision are sent, with a contact; errors, answers of another form
    and chances above one are no ratings; a service that is down is left alone."""
    endpoint, asked = lift_wing
    config = RevertRiskConfig(endpoint=endpoint, contact="a@b.org")
    with PoliteClient(
        source="risk", contact="a@b.org", budget=LocalBudget(), min_interval_s=0
    ) as client:
        assert scores([2, 3, 4, 12, 100, 6], client, config) == {2: 0.2, 4: 0.4, 6: 0.6}
        path, agent, value = asked[0]
        assert path == "/lw/v1/models/revertrisk-wikidata:predict" and value == {"rev_id": 2}
        assert "a@b.org" in agent
        asked.clear()
        assert scores([1, 3, 5, 2], client, config) == {}
        assert len(asked) == 3
    gone = RevertRiskConfig(endpoint="http://127.0.0.1:9", contact="a@b.org")
    with PoliteClient(
        source="risk", contact="a@b.org", budget=LocalBudget(), min_interval_s=0
    ) as client:
        assert scores([2], client, gone) == {}


def test_only_public_revisions_are_rated_popular_subjects_first() -> None:
    """Each once, up to the number that is allowed."""
    changes = [change(popularity=p, revision_new=r) for p, r in ((1, 5), (9, 6), (3, 5), (2, 7))]
    own = change(source="people", revision_new=8)
    config = RevertRiskConfig(contact="a@b.org", max_revisions=2)
    assert to_rate([*changes, own], {"people": OWN}, config) == [6, 5]


def crowd(number: int, **more: Any) -> list[Change]:
    """Changes to so many subjects by one user."""
    fields = {"user": "Bot", **more}
    return [change(id=f"{n:016x}", subject=f"Q{n}", **fields) for n in range(number)]


def test_the_breaker_trips_on_unusual_numbers() -> None:
    """Against the trailing median, or an absolute limit without one; the whole set of a user, a
    domain or a relation."""
    config = TrustConfig(bulk_floor=3, bulk_factor=2, bulk_first=9)
    assert anomalies(activity(crowd(9)), [], config) == {}
    first = anomalies(activity(crowd(10)), [], config)
    assert set(first) == {
        ("user", "Bot"),
        ("relation", "P6"),
        ("domain", "bbc.co.uk"),
        ("domain", "lemonde.fr"),
    }
    history = [activity(crowd(n)) for n in (4, 100, 4)]
    assert anomalies(activity(crowd(8)), history, config) == {}
    found = anomalies(activity(crowd(9)), history, config)
    assert found["user", "Bot"] == (
        "user Bot changed 9 subjects at once, more than 8 (the median of 3 earlier editions is 4); "
        "a person may approve user:Bot"
    )
    stranger = anomalies(activity(crowd(4, user="New", references=())), history, config)
    assert set(stranger) == {("user", "New")}
    assert activity(crowd(50, rule="first")) == []  # nobody changed what was there at first


def test_a_set_that_is_held_stays_held_until_a_person_approves_it() -> None:
    """Also in later editions, which do not see the crowd; by user, by relation or by change."""
    c = change(user="Bot")
    crowd_of = {("user", "Bot"): "user Bot changed 99 subjects"}
    found = assess(c, anomalies=crowd_of)
    assert found.decisive == [("bulk user:Bot", "user Bot changed 99 subjects")]
    later = {c.id: [Finding("held", *found.decisive[0])]}
    assert assess(c, anew=False, lasting=later).state == "held"
    assert assess(c, anew=False).state == "eligible"
    for name in ("user:Bot", c.id):
        config = {"approve": [name]}
        assert assess(c, anomalies=crowd_of, config=config).state == "eligible", name
        assert assess(c, anew=False, lasting=later, config=config).state == "eligible", name
    for name in ("user:Other", "relation:P6", "domain:bbc.co.uk", "f" * 16):
        config = {"approve": [name]}
        assert assess(c, anomalies=crowd_of, config=config).state == "held", name
        assert assess(c, anew=False, lasting=later, config=config).state == "held", name


@pytest.mark.parametrize("given", ["Bot", "user:", "relation: P6", "00AB"])
def test_an_approval_of_nothing_is_a_mistake(given: str) -> None:
    """One that names neither a change nor a set would silently approve nothing."""
    with pytest.raises(ValidationError, match="approve"):
        TrustConfig(approve=(given,))


def test_the_rate_of_a_relation() -> None:
    """Share of its subjects that changed, over editions, one of each added."""
    kept = [change(id=f"{n:016x}", subject=f"Q{n}", kind="keep") for n in range(10, 16)]
    counted = activity([*crowd(4), *kept])
    assert rates([counted]) == {"P6": (4 + 1) / (10 + 2)}
    assert rates([counted, counted]) == {"P6": (8 + 1) / (20 + 2)}


@settings(max_examples=100, deadline=None)
@given(
    earlier=st.lists(st.integers(0, 30), max_size=5),
    now=st.integers(0, 60),
    floor=st.integers(1, 20),
    factor=st.integers(1, 4),
)
def test_the_breaker_is_the_median_in_words(
    earlier: list[int], now: int, floor: int, factor: int
) -> None:
    """A user's crowd is held exactly above max(floor, factor x median), an edition in which they
    did nothing counting as none; of another user in the same editions nothing is said."""
    config = TrustConfig(bulk_floor=floor, bulk_factor=factor, bulk_first=1000)
    other = [change(id="f" * 16, user="Other", relation="P35", references=())]
    history = [activity([*crowd(n), *other]) for n in earlier]
    found = anomalies(activity(crowd(now)), history, config)
    limit = max(floor, factor * median(earlier)) if earlier else 1000
    assert (("user", "Bot") in found) == (now > limit)
    assert ("user", "Other") not in found


@settings(max_examples=100, deadline=None)
@given(
    hours=st.floats(0, 200),
    references=st.lists(st.sampled_from([*TWO, "Q9", "Q8"]), unique=True),
    risk=st.none() | st.floats(0, 1),
    bulk=st.booleans(),
    own=st.booleans(),
)
def test_the_worst_finding_decides(
    hours: float, references: list[str], risk: float | None, bulk: bool, own: bool
) -> None:
    """Whatever comes together; the decisive reasons are those of the state, and are told first."""
    at = (NOW - timedelta(hours=hours)).astimezone(UTC)
    found = assess(
        change(revision_time=at.isoformat(), references=tuple(references), user="Bot"),
        config=RISK,
        scores={} if risk is None else {5: risk},
        anomalies={("user", "Bot"): "a crowd"} if bulk else {},
        standings={"wd": OWN} if own else {},
    )
    held = bulk or (not own and (len(references) < 2 or (risk or 0) > 0.5))
    cooling = not own and hours < 72
    expected = "held" if held else "cooling" if cooling else "eligible"
    if abs(hours - 72) > 0.01:
        assert found.state == expected
    order = [SEVERITY.index(state) for state in found.states]
    assert order == sorted(order) and all(found.reasons)
    assert 0 <= found.weight <= 1


def test_the_clock_is_the_editions_day() -> None:
    """The first moment after it; nothing reads the time of the run."""
    midnight = datetime(2023, 7, 1, tzinfo=UTC)
    assert end_of(DAY) == midnight
