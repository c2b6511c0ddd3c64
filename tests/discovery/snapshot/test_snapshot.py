"""Snapshots made step by step are the snapshot made at once; what did not change is taken over."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from discovery_helpers import diff_of, make_fact, put_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import reseal

from discovery.crawl.output import CRAWL, OBSERVATIONS
from discovery.facts.fact import FACT_SCHEMA, Entity, Fact
from discovery.facts.hashing import bucket_of, hash_of, hash_range
from discovery.facts.tables import from_table, to_table
from discovery.snapshot.coverage import Replaced
from discovery.snapshot.merge import gather_facts
from discovery.snapshot.output import MANIFEST, REVISIONS, Snapshot, bucket_file
from discovery.sources.observation import OBSERVATION_SCHEMA, Observation
from discovery.sources.tabular.table import TableConfig
from discovery.sources.wikibase.config import WikidataConfig
from infra.errors import StageError
from infra.execution.runner import InProcessRunner
from infra.files.digest import content_digest
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace

WIKIDATA = WikidataConfig(name="wd", entities=("Q1",), contact="ops@example.org")
COVERAGE = {"wd": "subject", "hr": "source", "log": "statement", "odd": "source"}
SOURCES = (
    WIKIDATA,
    *(TableConfig(name=name, path=f"{name}.jsonl") for name in COVERAGE if name != "wd"),
)
DAY = "2020-01-01"
SUBJECTS, VALUES = ("Q1", "Q2", "Q3"), ("Q1", "Q5", "Q6", "Q7")


@dataclass(frozen=True)
class Step:
    """What one crawl finds: by subject the values and revision, or None where it is absent; by
    value its label; rows of tables."""

    subjects: dict[str, tuple[int, tuple[str, ...]] | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    hr: tuple[tuple[str, str], ...] = ()
    log: tuple[tuple[str, str], ...] = ()
    odd: tuple[tuple[str, str], ...] = ()

    def then(self, later: Step) -> Step:
        """What one crawl finds that comes in the place of both."""
        return Step(
            subjects=self.subjects | later.subjects,
            labels=self.labels | later.labels,
            hr=later.hr,
            log=tuple(dict.fromkeys(self.log + later.log)),
            odd=later.odd,
        )


def observed(source: str, kind: str, about: str, payload: object, **more: object) -> Observation:
    return Observation(
        source=source,
        partition="0",
        kind=kind,  # type: ignore[arg-type]
        about=about,
        as_of=DAY,
        url="file:x",
        payload=b"" if payload is None else json.dumps(payload).encode(),
        fetched_at="",
        **more,  # type: ignore[arg-type]
    )


def entity(key: str, revision: int, values: tuple[str, ...]) -> dict:
    """Wikibase JSON of an item with one statement a value."""
    claims = [
        {
            "id": f"{key}${value}",
            "rank": "normal",
            "mainsnak": {
                "snaktype": "value",
                "property": "P6",
                "datavalue": {"type": "wikibase-entityid", "value": {"id": value}},
            },
        }
        for value in values
    ]
    named = {"en": {"language": "en", "value": f"{key} at {revision}"}}
    return {
        "id": key,
        "lastrevid": revision,
        "labels": named,
        "claims": {"P6": claims} if claims else {},
    }


def observations(step: Step, configured: tuple[str, ...]) -> list[Observation]:
    found = []
    for key, state in step.subjects.items():
        if state is None:
            found.append(observed("wd", "entity", key, None, absent="no such entity"))
        else:
            payload = {"entities": {key: entity(key, *state)}}
            found.append(observed("wd", "entity", key, payload, revision=state[0]))
    for key, label in step.labels.items():
        named = {"labels": {"en": {"language": "en", "value": label}}}
        found.append(observed("wd", "labels", key, {"entities": {key: named}}))
    for name in configured[1:]:
        rows = [
            {"subject_id": s, "subject": f"{s} in {name}", "relation": "P54"}
            | {"object_id": o, "object": f"{o} in {name}"}
            for s, o in getattr(step, name)
        ]
        lines = "\n".join(json.dumps(row) for row in rows)
        table = observed(name, "table", f"{name}.jsonl", None)
        found.append(replace(table, payload=lines.encode()))
    return found


def made(
    root: Path,
    version: str,
    step: Step,
    previous: Artifact | None = None,
    configured: tuple[str, ...] = tuple(COVERAGE),
    reverse: bool = False,
    **options: int,
) -> Artifact:
    """The snapshot of one crawl's findings on top of another, through the real stages' files."""
    workspace = Workspace(root)
    found = observations(step, configured)[:: -1 if reverse else 1]

    def crawled(out):
        table = to_table(found, OBSERVATION_SCHEMA).drop_columns(["etag", "fetched_at"])
        out.write_table(OBSERVATIONS, table, rows_per_group=2)
        about = {
            name: {"coverage": COVERAGE[name], "cursor": None, "gaps": []} for name in configured
        }
        out.write_json(CRAWL, {"schema": 1, "sources": about})
        return {}

    sources = [source for source in SOURCES if source.name in configured]
    crawl = workspace.run_stage("crawl", version, body=crawled, code=1, made_from={})
    return put_snapshot(
        workspace,
        InProcessRunner(),
        crawl,
        sources,
        date.fromisoformat(DAY),
        version=version,
        previous=previous,
        max_vanished=1.0,
        **options,
    )


def rows_of(artifact: Artifact, kind: str, cls: type) -> list:
    count = artifact.json(MANIFEST)["num_buckets"]
    return [
        row for n in range(count) for row in from_table(artifact.table(bucket_file(kind, n)), cls)
    ]


@st.composite
def histories(draw) -> list[Step]:
    """Steps as crawls find them: whoever observes a subject asks for the labels of its values."""
    steps = []
    pairs = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(VALUES))
    rows = st.lists(pairs, max_size=3, unique=True).map(tuple)
    values = st.lists(st.sampled_from(VALUES), max_size=2, unique=True).map(tuple)
    for number in range(draw(st.integers(1, 4))):
        chosen = draw(st.lists(st.sampled_from(SUBJECTS), max_size=2, unique=True))
        subjects = {
            key: None if draw(st.integers(0, 4)) == 0 else (number + 1, draw(values))
            for key in chosen
        }
        wanted = {value for state in subjects.values() if state for value in state[1]}
        steps.append(
            Step(
                subjects,
                {key: f"{key} called {number}" for key in sorted(wanted)},
                *(draw(rows) for _ in range(3)),
            )
        )
    return steps


AGAIN = [
    Step({"Q1": (1, ("Q1",))}, {"Q1": "Q1 called 0"}, (), (), ()),
    Step({"Q1": None}, {}, (), (), ()),
    Step({"Q1": (4, ("Q5",))}, {"Q5": "Q5 called 3"}, (), (), ()),
]


@pytest.mark.parametrize("cuts", [set(), {1}, {2}, {1, 2}])
def test_a_subject_that_was_gone_for_a_while(tmp_path, cuts):
    """What it was once called as somebody's value is no more of it when it is back than where
    nobody saw it go."""
    check_history(tmp_path, AGAIN, cuts, 1)


@settings(max_examples=12, deadline=None)
@given(histories(), st.data())
def test_many_increments_are_one_snapshot(history, data):
    """A history cut anywhere into crawls, each on top of the last, ends in the snapshot of one
    crawl: the same id, the same bytes of every table, whatever the order of observations."""
    num_buckets = data.draw(st.integers(1, 3))
    cuts = data.draw(st.sets(st.integers(1, 3)))
    with tempfile.TemporaryDirectory() as directory:
        check_history(Path(directory), history, cuts, num_buckets)


def check_history(root, history, cuts, num_buckets):
    """Crawls cut there are one crawl."""
    whole = history[0]
    for step in history[1:]:
        whole = whole.then(step)
    once = made(root, "once", whole, num_buckets=num_buckets, reverse=True)
    earlier, pending = None, None
    for number, step in enumerate(history):
        pending = pending.then(step) if pending else step
        if number + 1 in cuts or number + 1 == len(history):
            earlier = made(root, f"{number}", pending, earlier, num_buckets=num_buckets)
            pending = None
    assert earlier is not None
    manifests = [artifact.json(MANIFEST) for artifact in (once, earlier)]
    assert manifests[0]["files"] == manifests[1]["files"]
    assert manifests[0]["snapshot_id"] == manifests[1]["snapshot_id"]
    assert once.table(REVISIONS) == earlier.table(REVISIONS)
    for name, digest in earlier.record["files"].items():
        assert content_digest(earlier.path / name) == digest
    check_against_the_obvious(earlier, whole)


def check_against_the_obvious(artifact: Artifact, whole: Step) -> None:
    """Facts and names are those that a reader of the last findings would list."""
    facts = {(f.source, f.subject, f.value) for f in rows_of(artifact, "facts", Fact)}
    present = {key: state for key, state in whole.subjects.items() if state}
    said = {("wd", key, value) for key, state in present.items() for value in state[1]}
    said |= {(name, *row) for name in ("hr", "log", "odd") for row in getattr(whole, name)}
    assert facts == said
    named = {e.id: e for e in rows_of(artifact, "entities", Entity)}
    assert named.keys() == {key for _, *pair in said for key in pair} | present.keys()
    for key, (revision, _) in present.items():
        assert (named[key].label, named[key].revision) == (f"{key} at {revision}", revision)
    revisions = artifact.table(REVISIONS)
    held = dict(
        zip(revisions["subject"].to_pylist(), revisions["revision"].to_pylist(), strict=True)
    )
    assert held == {key: state and state[0] for key, state in whole.subjects.items()}


FIRST = Step(
    {"Q1": (1, ("Q5",)), "Q2": (2, ("Q6",))}, {"Q5": "five", "Q6": "six"}, odd=(("Q3", "Q7"),)
)
WORLD = ("wd", "hr", "log")


def test_untouched_buckets_are_taken_over(tmp_path):
    """Where nothing was found and nothing is replaced, the new snapshot has the old one's file
    itself; where something was, another."""
    old = made(tmp_path, "old", FIRST, configured=WORLD, num_buckets=64)
    step = Step({"Q1": (3, ("Q6",))}, {"Q6": "six"})
    new = made(tmp_path, "new", step, old, configured=WORLD)
    other = [
        n
        for n in range(64)
        if not (new.path / bucket_file("facts", n)).samefile(old.path / bucket_file("facts", n))
    ]
    assert other == [bucket_of(hash_of("Q1"), 64)]
    assert new.json(MANIFEST)["previous"] == old.json(MANIFEST)["snapshot_id"]
    entities = [
        n
        for n in range(64)
        if not (new.path / bucket_file("parts", n)).samefile(old.path / bucket_file("parts", n))
    ]
    assert entities == sorted(bucket_of(hash_of(key), 64) for key in ("Q1", "Q5", "Q6"))


def test_a_source_that_is_no_longer_configured_is_dropped(tmp_path):
    """Its facts go, and what only they named."""
    old = made(tmp_path, "old", FIRST)
    new = made(tmp_path, "new", Step(), old, configured=WORLD)
    assert {f.source for f in rows_of(old, "facts", Fact)} == {"wd", "odd"}
    assert {f.source for f in rows_of(new, "facts", Fact)} == {"wd"}
    assert {e.id for e in rows_of(new, "entities", Entity)} == {"Q1", "Q2", "Q5", "Q6"}


def test_a_statement_that_moves_to_another_subject_leaves_the_first():
    """Of a source that covers statements a row whose subject was corrected is not there twice."""
    old = to_table([make_fact("Q5", "row-7", subject="Q1", source="log")], FACT_SCHEMA)
    replaced = Replaced(statements={"log": pa.array(["row-7"])})
    assert gather_facts(old, FACT_SCHEMA.empty_table(), replaced).num_rows == 0


def test_of_a_statement_observed_twice_the_later_revision_counts():
    """Whichever comes first."""
    twice = [make_fact("Q5", "s", revision=1), make_fact("Q6", "s", revision=2)]
    for order in (1, -1):
        found = to_table(twice[::order], FACT_SCHEMA)
        kept = gather_facts(FACT_SCHEMA.empty_table(), found, Replaced())
        assert kept["value"].to_pylist() == ["Q6"]


@given(st.integers(0, (1 << 63) - 1), st.integers(1, 1000))
def test_buckets_are_ranges_of_the_hash(hashed, num_buckets):
    """A hash lies in the range of its bucket and of no other."""
    bucket = bucket_of(hashed, num_buckets)
    low, high = hash_range(bucket, bucket, num_buckets)
    assert 0 <= bucket < num_buckets and low <= hashed <= high
    assert bucket_of(low, num_buckets) == bucket == bucket_of(high, num_buckets)


def test_a_snapshot_of_an_older_format_is_refused(tmp_path):
    """One line that says what to do."""
    old = made(tmp_path, "old", FIRST)
    manifest = {**old.json(MANIFEST), "schema": 1}
    (old.path / MANIFEST).write_text(json.dumps(manifest))
    reseal(old.path)
    with pytest.raises(StageError, match=r"format 1.*Make the first snapshot again"):
        made(tmp_path, "new", Step(), old)


def test_buckets_are_as_many_as_before(tmp_path):
    """The setting counts for a first snapshot; later ones go on with as many."""
    old = made(tmp_path, "old", FIRST, num_buckets=3)
    new = made(tmp_path, "new", FIRST, old, num_buckets=7)
    assert new.json(MANIFEST)["num_buckets"] == 3
    assert len(list((new.path / "facts").iterdir())) == 3
    assert pq.read_schema(new.path / bucket_file("facts", 0)).names == FACT_SCHEMA.names


def test_another_label_is_no_change(tmp_path):
    """A subject and an object that are called something else say what they said, under the names
    of now."""
    old = made(tmp_path, "old", Step({"Q1": (1, ("Q5",))}, {"Q5": "five"}))
    new = made(tmp_path, "new", Step({"Q1": (2, ("Q5",))}, {"Q5": "cinq"}), old)
    (change,) = diff_of(tmp_path, Snapshot.of(old), Snapshot.of(new))
    assert (change.kind, change.rule) == ("keep", "21")
    assert (change.subject_label, change.new_label) == ("Q1 at 2", "cinq")
