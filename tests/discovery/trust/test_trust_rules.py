"""The list of the rules of trust: complete, documented, and spelled as on disk."""

from datetime import timedelta

import pytest
from discovery_helpers import make_fact
from documented_enum import meanings
from trust_helpers import DAY, NOW, RISK, assess, change

from discovery.facts.change import DiffRule
from discovery.facts.dates import days
from discovery.facts.fact import Entity
from discovery.trust.policy import Standing, sensitive
from discovery.trust.rules import SEVERITY, TrustRule, bulk_actor, bulk_rule
from discovery.trust.subjects import Subjects


def test_rules_are_spelled_as_in_the_tables_of_finished_runs() -> None:
    """What a person reads in the reasons of a held change, and older workspaces hold."""
    assert {rule.name: rule.value for rule in TrustRule} == {
        "LIVING_PERSON": "living person",
        "CLOCK": "clock",
        "COOL_DOWN": "cool-down",
        "SOURCE": "source",
        "CONTRADICTION": "contradiction",
        "UNREADABLE": "unreadable",
        "QUORUM": "quorum",
        "REVERT_RISK": "revert risk",
        "BULK": "bulk",
        "APPROVAL": "approval",
    }
    assert bulk_rule("user", "A Bot: 2") == "bulk user:A Bot: 2"


@pytest.mark.parametrize("name", ["Bot", "two words", "with:colon", ""])
def test_the_actor_of_a_bulk_rule_is_what_a_person_approves(name: str) -> None:
    """The form that `approve` takes; no other rule has an actor."""
    assert bulk_actor(bulk_rule("user", name)) == f"user:{name}"
    others = [rule for rule in TrustRule if rule is not TrustRule.BULK]
    assert [bulk_actor(rule) for rule in others] == [None] * len(others)


def findings() -> dict[str, str]:
    """By rule, the most severe state that it asks for, of one bad change for each rule."""
    deny = next(key for key, rule in sensitive().items() if rule.action == "deny")
    person = Entity(id="Q1", label="Ann", types=("Q5",), source="wd")
    sources = [make_fact("Q2", source="wd"), make_fact("Q3", source="people")]
    unreadable = make_fact("", snaktype="unreadable", value_type="other")
    conflict = change(
        kind="conflict",
        rule=DiffRule.SEVERAL_VALUES,
        new_value=None,
        old_values=("Q2", "Q3"),
        old_labels=("Ann", "Bob"),
    )
    found = [
        assess(change(relation=deny), subjects=Subjects.of([], [person], day=days(DAY))),
        assess(change(revision_time="never")),
        assess(change(revision_time=(NOW - timedelta(hours=1)).isoformat())),
        assess(change(), standings={"wd": Standing(0.5, quarantined=True)}),
        assess(conflict, subjects=Subjects.of(sources, day=days(DAY), functional={"P6": ()})),
        assess(change(), subjects=Subjects.of([unreadable], day=days(DAY))),
        assess(change(references=())),
        assess(change(), config=RISK, scores={5: 0.9}),
        assess(change(user="Bot"), anomalies={("user", "Bot"): "too many"}),
        assess(change(), config={"approve": [change().id]}),
    ]
    rows = [row for each in found for row in zip(each.rules, each.states, strict=True)]
    worst: dict[str, str] = {}
    for rule, state in rows:
        named = TrustRule.BULK if bulk_actor(rule) else rule
        worst[named] = min(state, worst.get(named, "eligible"), key=SEVERITY.index)
    return worst


def test_every_rule_is_applied_and_asks_for_the_state_in_its_meaning() -> None:
    """What is written under the member in `TrustRule` agrees with what the rule does."""
    found, texts = findings(), meanings(TrustRule)
    assert found.keys() == texts.keys() == set(TrustRule)
    for rule, state in found.items():
        assert state in texts[rule].partition("->")[2], rule
