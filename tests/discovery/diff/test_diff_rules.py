"""The list of the diff's rules: complete, documented, and spelled as on disk."""

from dataclasses import replace

import pyarrow as pa
import pytest
from diff_cases import CASES, OTHER, A, changes, outcome
from discovery_helpers import make_fact as fact
from documented_enum import meanings

from discovery.diff.derived import derived
from discovery.facts.change import CHANGE_SCHEMA, Change, DiffRule
from discovery.facts.dates import iso_interval
from discovery.facts.tables import from_table, to_table


def test_rules_are_spelled_as_in_the_tables_of_finished_runs():
    """The numbers 1 to 23 and `first`; an old workspace stays readable."""
    assert {rule.name: rule.value for rule in DiffRule} == {
        "STARTS_AFTER_END": "1",
        "SEVERAL_VALUES": "2",
        "CONTESTED": "3",
        "METADATA_CHANGED": "4",
        "REFINED": "5",
        "SAME_LABEL": "6",
        "SCHEDULED": "7",
        "TRANSIENT": "8",
        "HISTORICAL": "9",
        "UNDECIDED": "10",
        "SUCCESSION": "11",
        "CORRECTION": "12",
        "RETRACTED": "13",
        "VACATED": "14",
        "UNKNOWN_VALUE": "15",
        "DERIVED": "16",
        "NEW_SUBJECT": "17",
        "ADDED": "18",
        "ENDED": "19",
        "DATE_OF_DEATH": "20",
        "STILL_HOLDS": "21",
        "UNEXPLAINED": "22",
        "UNREADABLE": "23",
        "FIRST_SNAPSHOT": "first",
    }
    assert list(DiffRule) == [*map(str, range(1, 24)), "first"]


def test_every_rule_is_given_by_some_change_and_no_change_has_another():
    """All cases together, with those that take more than one group or one snapshot."""
    found = {rule for old, new, _, _ in CASES.values() for _, rule in outcome(old, new)}
    two = [fact(key, **OTHER) for key in ("Q10", "Q20")]
    ended = replace(two[1], end=iso_interval("2019-05"))
    found |= {rule for _, rule in outcome(two, [two[0], ended])}
    found |= {rule for _, rule in outcome(None, [A], old_day=None)}
    cause = changes([], [fact("Q20", start="2018", **OTHER)])
    found |= {c.rule for c in derived(cause, {"P190": "P190"}, {}, lambda *_: {}, {})}
    assert found == set(DiffRule)


@pytest.mark.parametrize("case", CASES)
def test_the_meaning_of_a_rule_names_the_kind_of_its_changes(case):
    """What is written under the member in `DiffRule` agrees with what the rule does."""
    _, _, kind, rule = CASES[case]
    assert kind in meanings(DiffRule)[rule].rpartition("->")[2]


def test_every_rule_has_a_meaning():
    """A sentence for each, with the kind of change after an arrow."""
    found = meanings(DiffRule)
    assert found.keys() == set(DiffRule)
    assert all(text[0].isupper() and "->" in text and text.endswith(".") for text in found.values())


def test_a_rule_read_from_a_table_is_the_same_rule():
    """Tables hold strings; a change that is written and read is equal to what it was."""
    found = changes([A], [A, fact("Q20", start="2018-05-01", rank="preferred")])
    table = to_table(found, CHANGE_SCHEMA)
    assert table["rule"].type == pa.string() and table["rule"].to_pylist() == ["11"]
    assert from_table(table, Change) == found
    assert from_table(table, Change)[0].rule == DiffRule.SUCCESSION
