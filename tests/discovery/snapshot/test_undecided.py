"""What cannot be read is not taken for what is not there: undecided groups, damaged sources, waves.

The worlds are tables of people and their employers, as `TableSource` reads them, through crawl,
snapshot and diff.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from diff_cases import T_NEW, T_OLD, changes
from discovery_helpers import diff_of, make_crawl, make_fact, put_snapshot
from hypothesis import given
from hypothesis import strategies as st

from discovery.facts.fact import EVERY_RELATION, FACT_SCHEMA, Fact, Interval
from discovery.facts.tables import from_table, to_table
from discovery.snapshot.coverage import Replaced
from discovery.snapshot.merge import gather_facts
from discovery.snapshot.output import MANIFEST, Snapshot
from discovery.sources.observation import Parsed, Skip
from discovery.sources.tabular.table import TableConfig, TableSource
from discovery.trust.subjects import Subjects
from infra.errors import SourceError
from infra.execution.runner import InProcessRunner
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace

RUNNER = InProcessRunner()
FIRST, SECOND, THIRD = T_OLD, T_NEW, T_NEW + 365


def unreadable(of: Fact) -> Fact:
    """The statement, with a value that its reader does not understand."""
    return replace(of, value="", value_type="other", snaktype="unreadable", start=None, end=None)


def gathered(earlier: list[Fact], found: list[Fact], day: int | None, **replaced) -> list[Fact]:
    """The facts of a snapshot after one in which the source had `earlier`."""
    covered = Replaced(**(replaced or {"whole": frozenset({"wd"})}))
    tables = [to_table(facts, FACT_SCHEMA) for facts in (earlier, found)]
    return from_table(gather_facts(tables[0], tables[1], covered, day), Fact)


ADA = make_fact("Q10", "Q1$a", start="2010")
INES = make_fact("Q20", "Q1$b", start="2018-05-01", rank="preferred")
OTHER = make_fact("Q30", "Q2$c", subject="Q2", start="2011")


def test_a_group_that_cannot_be_read_stays_as_it_was():
    """Neither the former value beside the unreadable one is learnt, nor the current one taken out;
    other groups go on."""
    before = gathered([], [ADA, INES, OTHER], None)
    after = gathered(before, [ADA, unreadable(INES)], FIRST)
    assert [f for f in after if f.snaktype == "value"] == [ADA, INES]
    [mark] = [f for f in after if f.snaktype == "unreadable"]
    assert mark.point == Interval(FIRST, FIRST + 1)
    found = changes(before, after, old_day=FIRST, new_day=SECOND)
    assert [(c.subject, c.kind, c.rule) for c in found] == [
        ("Q1", "ignored", "23"),
        ("Q2", "forget", "13"),
    ]


def test_what_happened_meanwhile_is_found_once_the_group_can_be_read_again():
    """The window reaches back to the day on which it could be read last, so that a successor of
    that time counts as one; a value that is gone then is taken out."""
    one = gathered([], [ADA], None)
    two = gathered(one, [unreadable(ADA)], FIRST)
    again = gathered(two, [unreadable(ADA)], SECOND)
    assert again == two
    successor = replace(INES, start=make_fact("x", start="2019-03-01").start)
    three = gathered(again, [ADA, successor], SECOND)
    [change] = changes(again, three, old_day=SECOND, new_day=THIRD)
    assert (change.kind, change.rule, change.old_values) == ("replace", "11", ("Q10",))
    assert gathered(again, [], SECOND) == []
    [change] = changes(again, [], old_day=SECOND, new_day=THIRD)
    assert (change.kind, change.rule) == ("forget", "13")


def test_a_group_that_was_never_readable_is_learnt_as_at_first():
    """Nothing is taken from it while a part is unreadable; then its current values are new."""
    first = gathered([], [ADA, unreadable(INES)], None)
    assert [(f.snaktype, f.point) for f in first] == [("unreadable", None)]
    assert [(c.kind, c.rule) for c in changes(None, first, old_day=None)] == [("ignored", "23")]
    [change] = changes(first, [ADA], old_day=FIRST, new_day=SECOND)
    assert (change.kind, change.rule, change.new_value) == ("learn", "first", "Q10")


def test_a_subject_of_which_it_is_unknown_what_cannot_be_read():
    """Nothing is concluded of any relation, also of one of which nothing is said any more. What
    happened meanwhile is found once it can be read again; a new subject is learnt as at first."""
    spouse = make_fact("Q9", "Q1$s", relation="P26", start="2012")
    mark = replace(unreadable(ADA), statement_id="Q1", relation=EVERY_RELATION)
    fresh = replace(unreadable(OTHER), statement_id="Q3", subject="Q3", relation=EVERY_RELATION)
    one = gathered([], [ADA, spouse], None)
    two = gathered(one, [INES, mark, fresh], FIRST)
    assert {f for f in two if f.snaktype == "value"} == {ADA, spouse}
    found = changes(one, two, old_day=FIRST, new_day=SECOND)
    assert {(c.kind, c.rule) for c in found} == {("ignored", "23")}
    assert Subjects.of(two, day=SECOND).taken_back("Q1", "P26", "Q8", "Q1$x") is None
    new = replace(OTHER, subject="Q3")
    three = gathered(two, [INES, replace(ADA, end=INES.start), new], SECOND)
    through = changes(two, three, old_day=SECOND, new_day=THIRD)
    assert [(c.subject, c.relation, c.kind, c.rule) for c in through] == [
        ("Q1", "P26", "forget", "13"),
        ("Q1", "P6", "replace", "11"),
        ("Q3", "P6", "learn", "first"),
    ]


def test_rows_that_a_source_gives_one_by_one_are_kept_one_by_one():
    """Of a table read by a cursor, a row that cannot be read takes its own place only: the others
    of its group would not be given again."""
    covered = {"statements": {"wd": pa.array([INES.statement_id])}}
    after = gathered([ADA, INES], [unreadable(INES)], FIRST, **covered)
    assert [(f.statement_id, f.snaktype) for f in after] == [
        (ADA.statement_id, "value"),
        (INES.statement_id, "unreadable"),
    ]


@given(st.data())
def test_an_unreadable_statement_never_gives_a_change(data):
    """Whatever else is said of the group, and whatever was, before and after."""
    values = st.sampled_from([ADA, INES, replace(ADA, end=INES.start), replace(INES, value="Q40")])
    before = data.draw(st.lists(values, unique_by=lambda f: f.statement_id, max_size=2))
    now = data.draw(st.lists(values, unique_by=lambda f: f.statement_id, max_size=2))
    mark = unreadable(replace(ADA, statement_id="Q1$x"))
    one = gathered([], before, None)
    two = gathered(one, [*now, mark], FIRST)
    assert {c.kind for c in changes(one, two, old_day=FIRST, new_day=SECOND)} == {"ignored"}
    subjects = Subjects.of(two, day=SECOND, functional={"P6": ()})
    assert subjects.taken_back("Q1", "P6", "Q10", ADA.statement_id) is None
    if before:  # once it can be read again, the interlude has made no difference
        three = gathered(two, now, SECOND)
        through = changes(two, three, old_day=SECOND, new_day=THIRD)
        assert through == changes(one, three, old_day=FIRST, new_day=THIRD)


def people(folder: Path, names: list[str], tail: str = "") -> None:
    """A table of people, with a text behind its last row."""
    rows = [{"subject": name, "relation": "P108", "object": "Navy"} for name in names]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "people.jsonl").write_text(text + tail)


def edition(folder: Path, day: str, previous: Artifact | None = None, **options) -> Artifact:
    """The snapshot of the table on a day."""
    workspace, sources = Workspace(folder / "ws"), [TableConfig(name="people", path="people.jsonl")]
    crawled = make_crawl(
        workspace,
        RUNNER,
        sources,
        date.fromisoformat(day),
        version=day,
        base_dir=folder,
        previous=previous,
    )
    return put_snapshot(
        workspace,
        RUNNER,
        crawled,
        sources,
        date.fromisoformat(day),
        version=day,
        previous=previous,
        **options,
    )


NAMES = [f"Person {n}" for n in range(40)]


def test_of_a_damaged_source_nothing_that_is_missing_is_gone(tmp_path, monkeypatch):
    """A table that was cut in the middle of a row replaces what it shows, and nothing else."""
    people(tmp_path, NAMES)
    first = edition(tmp_path, "2021-01-01")
    people(tmp_path, NAMES[:12])
    original = TableSource.parse

    def cut(self, observation) -> Parsed:
        found = original(self, observation)
        lost = Skip("people", "row is not JSON", '{"subject": "Per', damage=True)
        return replace(found, skips=(*found.skips, lost))

    monkeypatch.setattr(TableSource, "parse", cut)
    second = edition(tmp_path, "2022-01-01", first)
    manifest = second.json(MANIFEST)
    assert manifest["rows"]["facts"] == 40 and manifest["damaged"] == ["people"]
    found = diff_of(tmp_path, Snapshot.of(first), Snapshot.of(second))
    assert {c.kind for c in found} <= {"keep"}


@pytest.mark.parametrize(
    "now", [["Person 0"], [f"id:{name}" for name in NAMES]], ids=["lost", "renamed"]
)
def test_a_wave_of_disappearances_stops_the_edition(tmp_path, now):
    """Most rows are gone at once, or all have other ids: one line says so, and what to do; a person
    can approve it."""
    people(tmp_path, NAMES)
    first = edition(tmp_path, "2021-01-01")
    people(tmp_path, now)
    with pytest.raises(SourceError, match=r"\d+ of its 40 facts are gone at once.*vanished:people"):
        edition(tmp_path, "2022-01-01", first)
    approved = edition(tmp_path, "2022-01-01", first, may_vanish=frozenset({"people"}))
    assert approved.json(MANIFEST)["rows"]["facts"] == len(now)


def test_single_facts_may_be_withdrawn(tmp_path):
    """A few rows of a table, or the only subject of a small one."""
    people(tmp_path, NAMES)
    first = edition(tmp_path, "2021-01-01")
    people(tmp_path, NAMES[15:])
    second = edition(tmp_path, "2022-01-01", first)
    assert second.json(MANIFEST)["rows"]["facts"] == 25
