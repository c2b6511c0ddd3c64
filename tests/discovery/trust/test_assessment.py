"""Trust: each rule by itself, at its edges, with an injected clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from discovery_helpers import make_fact
from hypothesis import given, settings
from hypothesis import strategies as st
from trust_helpers import DAY, NOW, OWN, RISK, TWO, assess, change

from discovery.facts.dates import days
from discovery.facts.fact import Entity
from discovery.sources.tabular.table import TableConfig
from discovery.sources.wikibase.config import WikidataConfig
from discovery.trust.assessment import end_of
from discovery.trust.evidence import domains, voices
from discovery.trust.policy import SourceTrust, Standing, TrustConfig, sensitive, standings
from discovery.trust.rules import SEVERITY
from discovery.trust.subjects import Subjects


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
    subjects = Subjects.of(facts, day=days(DAY), functional={"P6": ()})
    found = assess(c, subjects=subjects, standings={"people": OWN, "wd": OWN})
    assert found.decisive == [("contradiction", "sources disagree: wd: Ann; people: Bob")]
    one = Subjects.of([make_fact("Q2"), make_fact("Q3")], day=days(DAY))
    assert assess(c, subjects=one, standings={"wd": OWN}).state == "eligible"  # to be contested
    assert "quorum" in assess(c, subjects=subjects).rules  # each value needs its voices


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
