"""A merge is no change of facts: both snapshots are compared under the ids that stand now."""

from datetime import date

from discovery_helpers import NUM_BUCKETS, diff_of, make_snapshot
from discovery_helpers import make_fact as fact
from test_month import BEFORE, LAST, OCTOBER, observe, source

from discovery.diff.inputs import ReadSelected
from discovery.diff.redirects import redirects_of, resolved_values
from discovery.facts.fact import FACT_SCHEMA, Entity, Fact
from discovery.facts.hashing import bucket_of, hash_of
from discovery.facts.tables import from_table, to_table
from discovery.snapshot.output import Snapshot
from discovery.sources.replay.server import ReplayServer

B = NUM_BUCKETS


def snapshot(root, facts, redirects):
    """The files of a snapshot of some facts and redirects."""
    entities = [Entity(id=a, label=None, redirect=b, source="wd") for a, b in redirects]
    return make_snapshot(root, facts, entities)


def test_redirects_are_followed_to_their_end(tmp_path):
    """A chain ends where it ends; one that goes in a circle leads nowhere."""
    chain = [("Q1", "Q2"), ("Q2", "Q3"), ("Q7", "Q8"), ("Q8", "Q7"), ("Q9", "Q9")]
    assert redirects_of(snapshot(tmp_path, [], chain)) == {"Q1": "Q3", "Q2": "Q3"}


def test_facts_are_said_of_what_they_are_now(tmp_path):
    """Whichever buckets the two ids fall in: every fact is there once, under its present subject,
    with its present value; strings that look like ids are left alone."""
    redirects = {f"Q{n}": f"Q{n + 100}" for n in range(20)}
    facts = [fact(f"Q{n}", f"s{n}", subject=f"Q{n + 1}") for n in range(40)]
    facts.append(fact("Q3", "text", subject="Q300", value_type="string"))
    before = snapshot(tmp_path / "old", facts, [])
    choose = ReadSelected(before, snapshot(tmp_path / "new", [], []), [{}] * B, redirects)()
    found = []
    for bucket in range(B):
        table = choose(bucket)
        assert all(table["is_old"].to_pylist())
        mine = from_table(table.select(FACT_SCHEMA.names), Fact)
        assert {bucket_of(hash_of(f.subject), B) for f in mine} <= {bucket}
        found += mine
    expected = {
        (redirects.get(f.subject, f.subject), f.statement_id,
         redirects.get(f.value, f.value) if f.value_type == "entity" else f.value)
        for f in facts
    }  # fmt: skip
    assert len(found) == len(facts)
    assert {(f.subject, f.statement_id, f.value) for f in found} == expected


def test_without_redirects_a_table_is_what_it_was():
    table = to_table([fact("Q10", "s1")], FACT_SCHEMA)
    assert resolved_values(table, {}) is table


def test_the_month_s_merge_takes_nothing_back(tmp_path):
    """Of the country that was merged no fact is to be forgotten, though it has none any more; of
    the one that was deleted all are."""
    with ReplayServer(OCTOBER) as base:
        early, late = (source(base, stream=False) for _ in range(2))
        ((merged, about),) = ReplayServer(OCTOBER).recording.redirects.items()
        (deleted,) = ReplayServer(OCTOBER).recording.deleted
        server = ReplayServer(OCTOBER, now=f"{date(2022, 10, 1)}T00:00:00Z")
        with server as then:
            early = early.model_copy(update={"endpoint": then, "query_endpoint": f"{then}/sparql"})
            _, before = observe(tmp_path / "a", early, BEFORE)
        _, after = observe(tmp_path / "b", late, LAST)
    changes = diff_of(tmp_path, Snapshot.of(before), Snapshot.of(after))
    forgotten = {c.subject for c in changes if c.kind in ("forget", "vacated")}
    assert merged not in {c.subject for c in changes}
    assert deleted in forgotten and about["to"] not in forgotten
