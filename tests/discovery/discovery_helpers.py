"""Facts in one line, for the discovery tests."""

from pathlib import Path

from discovery.dates import iso_interval
from discovery.fact import Fact

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
