"""Every registered kind of source, in every format it takes, from a run to two releases.

All sources are read by the same two editions of a tiny model. What is right is the same for all of
them (`source_worlds`): of four people that work for one organisation, the second edition leaves
one as he is, gives one another employer, and takes two edits out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from string import ascii_lowercase

import pytest
from feed_site import serve
from source_worlds import (
    CHANGES,
    ENDS,
    NEW,
    OLD,
    STAYS,
    WITHDRAWN,
    Place,
    Source,
    columns,
    database,
    dump,
    feed,
    json_array,
    json_lines,
    rdf,
    rows,
    separated,
    table,
    wikibase,
)
from worlds import TEMPLATE

from discovery.diff.output import CHANGES as CHANGES_FILE
from discovery.facts.tables import from_table
from discovery.probe.intake import Intake
from discovery.snapshot.output import MANIFEST
from discovery.snapshot.wave import held_by_source
from discovery.sources import BULK_SOURCES, SOURCES
from discovery.sources.rdf.triples import FORMATS as RDF_FORMATS
from discovery.sources.tabular.table import FORMATS as TABLE_FORMATS
from infra.execution.runner import InProcessRunner
from infra.files.decompress import PACKED, suffix_of
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.config import load_config
from pipeline.flow import run_editions
from pipeline.plan.edits import PlannedEdit
from pipeline.plan.output import EDITS, Plan
from pipeline.run import Run

PLAIN_RDF = (".nt", ".nq.gz", ".n3", ".rdf", ".owl")
"""Formats in which RDF of a vocabulary of one's own is written, which has no dates."""
WORLDS: dict[str, dict[str, Source]] = {
    "wikidata": {"api": wikibase},
    "table": {
        **{form: table(form, json_lines) for form in (".jsonl", ".ndjson", ".jsonl.gz")},
        **{form: table(form, json_array) for form in (".json", ".json.bz2")},
        ".csv": table(".csv", separated(",")),
        ".tsv": table(".tsv", separated("\t")),
        ".csv.zst": table(".csv.zst", separated(";")),
        ".parquet": table(".parquet", columns),
    },
    "sql": {"sqlite": database("sqlite"), "duckdb": database("duckdb")},
    "feed": {"rss": feed("rss"), "atom": feed("atom"), "page": feed("page")},
    "dump": {form: dump(form) for form in (".json", ".json.gz", ".json.bz2", ".json.zst")},
    "rdf": {
        **{form: rdf(form, of_wikibase=False) for form in PLAIN_RDF},
        **{form: rdf(form, of_wikibase=True) for form in (".ttl", ".trig.bz2", ".jsonld.zst")},
    },
}
"""Kind of source -> format -> what writes it and gives its settings."""
NUMBERED = [(kind, form) for kind, forms in WORLDS.items() for form in forms]
TRUST = """
[trust]
cool_down_h = 0
quorum = 0
quorum_living = 0
bulk_floor = 100000
"""
DAYS = ("2021-06-30", "2022-06-30")


def last_name(number: int) -> str:
    """The last name of the people of a source."""
    return f"Quill{ascii_lowercase[number // 26]}{ascii_lowercase[number % 26]}"


def test_every_kind_and_format_is_in_the_matrix() -> None:
    """One that is registered without its row is not tested below."""
    assert WORLDS.keys() == SOURCES.keys() | BULK_SOURCES.keys()
    for kind, formats in (("table", TABLE_FORMATS), ("rdf", RDF_FORMATS), ("dump", (".json",))):
        assert {suffix_of(f"x{form}") for form in WORLDS[kind]} == set(formats)
        assert {Path(f"x{form}").suffix for form in WORLDS[kind]} >= set(PACKED)


class Editions:
    """Two editions of all sources, in one workspace."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder, self.config = folder, config
        self.place = Workspace.at(str(folder / "workspace"))
        self.plans: list[Plan] = []
        self.released: list[list[PlannedEdit]] = []
        head, _, rest = config.read_text().partition("[[sources]]")
        self.head = head.replace("shard_size = 8", "shard_size = 64")
        rest = rest[rest.index("[probe]") : rest.index("[[editions]]")]
        for given, wanted in (
            ("max_edits = 6", "max_edits = 1000"),
            ("max_changes = 100", "max_changes = 1000"),
            ("bisect = false", "bisect = false\nworst_relation = 0.0"),
        ):
            rest = rest.replace(given, wanted)
        self.rest = rest

    def make(self) -> None:
        """Run both editions. What waits for a person is approved."""
        with serve() as site:
            for second, day in enumerate(DAYS):
                sources = [
                    f'[[sources]]\nname = "{last_name(n)}"\n'
                    + WORLDS[kind][form](
                        Place(self.folder, site, last_name(n), n + 10), bool(second)
                    )
                    for n, (kind, form) in enumerate(NUMBERED)
                ]
                trusted = "".join(
                    f"[trust.sources.{last_name(n)}]\nbase_trust = 1\n"
                    for n, (kind, _) in enumerate(NUMBERED)
                    if kind != "feed"
                )
                text = "\n".join([self.head, *sources, self.rest, TRUST, trusted])
                self._run(text, day, until="plan")
                plan = Plan.read(self.output("plan", second))
                waiting = [h.change.id for h in plan.held if h.state == "held"]
                self._run(text, day, approve=waiting)
                self.plans.append(Plan.read(self.output("plan", second)))
                self.released.append(
                    from_table(self.output("release", second).table(EDITS), PlannedEdit)
                )

    def _run(
        self, text: str, day: str, until: str = "release", approve: Sequence[str] = ()
    ) -> None:
        edition = f"[[editions]]\nas_of = {day}\napprove = {json.dumps(approve)}\n"
        self.config.write_text(f"{text}\n{edition}")
        run_editions(
            Run(
                config=load_config(self.config),
                config_dir=self.folder,
                workspace=self.place,
                runner=InProcessRunner(),
                replace=True,
            ),
            until=until,
        )

    def output(self, stage: str, number: int) -> Artifact:
        """What a stage made in an edition."""
        found = self.place.find(stage, DAYS[number].replace("-", "."))
        assert found is not None
        return found

    def intake(self, number: int) -> Intake:
        """The changes of an edition."""
        return Intake.read(self.output("probe", number), [])


@pytest.fixture(scope="module")
def editions(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]
) -> Editions:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "text.txt").write_text("The Navy is in London. Paris is a city.\n\n" * 200)
    config = folder / "config.toml"
    settings = {"line": "tiny", "workspace": str(folder / "workspace"), "reliability": 0.0}
    config.write_text(TEMPLATE.format(model=checkpoint("llama"), **settings))
    made = Editions(folder, config)
    made.make()
    return made


@pytest.mark.parametrize(("kind", "form"), NUMBERED)
def test_a_source_is_released_and_followed(kind: str, form: str, editions: Editions) -> None:
    """All four facts are in the first release. In the second, the one that stays is carried over,
    the one with another value is corrected, and those that ended or are withdrawn are out."""
    last = last_name(NUMBERED.index((kind, form)))

    def told(edits: list[PlannedEdit]) -> dict[str, str]:
        return {
            edit.subject_label.removesuffix(f" {last}"): edit.target
            for edit in edits
            if edit.source == last
        }

    assert told(editions.released[0]) == dict.fromkeys((STAYS, CHANGES, ENDS, WITHDRAWN), OLD)
    assert told(editions.released[1]) == {STAYS: OLD, CHANGES: NEW}


@pytest.mark.parametrize("number", [0, 1])
def test_every_change_is_accounted_for(number: int, editions: Editions) -> None:
    """Each that is no `keep` is an edit, waits, is refused with a reason, or is on the fact sheet;
    edits that the parent held are carried over or removed with a reason."""
    plan, intake = editions.plans[number], editions.intake(number)
    dealt = {edit.change_id for edit in plan.edits} | {h.change.id for h in plan.held}
    dealt |= {refusal.change_id for refusal in plan.refusals} | {
        row.change_id for row in plan.sheet
    }
    assert {c.id for c in intake.changes if c.kind != "keep"} <= dealt
    if number:
        before = {edit.id for edit in editions.released[0]}
        assert before <= {edit.id for edit in plan.edits} | {
            removal.id for removal in plan.removals
        }
        assert all(removal.reason for removal in plan.removals)


@pytest.mark.parametrize("number", [0, 1])
def test_every_fact_is_accounted_for(number: int, editions: Editions) -> None:
    """Of every source, a snapshot holds as many facts as its rows state; the diff says something of
    each subject that has a value on the day."""
    snapshot, changed = editions.output("snapshot", number), editions.output("diff", number)
    held = held_by_source(snapshot.json(MANIFEST), [last_name(n) for n in range(len(NUMBERED))])
    for n, (kind, form) in enumerate(NUMBERED):
        undated = kind == "feed" or (kind == "rdf" and form in PLAIN_RDF)
        assert held[last_name(n)] == len(rows("X", bool(number), ends=not undated)), (kind, form)
    told = {change["subject_label"] for change in changed.table(CHANGES_FILE).to_pylist()}
    for n in range(len(NUMBERED)):
        people = (STAYS, CHANGES, *(() if number else (ENDS, WITHDRAWN)))
        assert {f"{first} {last_name(n)}" for first in people} <= told
