"""Facts and changes in one line, for the discovery tests."""

from pathlib import Path

from discovery.dates import iso_interval
from discovery.fact import Change, Fact

EXAMPLES = Path(__file__).parents[2] / "examples"


def make_fact(value, statement_id=None, subject="Q1", relation="P6", **more):
    """A fact with dates given as ISO text."""
    dates = {
        name: iso_interval(more.pop(name)) for name in ("start", "end", "point") if more.get(name)
    }
    fields = {"value_type": "entity", "source": "wd", **more, **dates}
    return Fact(
        statement_id=statement_id or f"{subject}${value}",
        subject=subject,
        relation=relation,
        value=value,
        **fields,
    )


def make_change(**settings):
    """That Ann plays for another club."""
    fields = {
        "id": "00000000000000ab",
        "kind": "replace",
        "rule": "11",
        "reason": "",
        "subject": "Q1",
        "subject_label": "Ann",
        "relation": "P54",
        "value_type": "entity",
        "old_values": ("Q2",),
        "old_labels": ("Old Club",),
        "new_value": "Q3",
        "new_label": "New Club",
        "source": "test",
    }
    return Change(**{**fields, **settings})
