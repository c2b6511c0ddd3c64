"""Every registered kind of source passes all stages up to a plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from discovery_helpers import EXAMPLES
from feed_site import rss, serve

from discovery.facts.tables import from_table
from discovery.probe.output import ASSESSMENTS
from discovery.sources import BULK_SOURCES, SOURCES
from discovery.trust.assessment import Assessment
from infra.execution.runner import InProcessRunner
from infra.storage.workspace import Workspace
from pipeline.config import load_config
from pipeline.flow import run_editions
from pipeline.plan.output import Plan
from pipeline.run import Run

ENTRY = {
    "title": "A wedding",
    "link": "https://example.org/1",
    "guid": "1",
    "pubDate": "Mon, 03 Jun 2024 10:00:00 GMT",
    "description": "Ada Lovelace is married to William King. Both live in London.",
}


@contextmanager
def wikidata(folder: Path) -> Iterator[str]:
    yield f"""
entities = ["Q42", "Q2112"]
endpoint = "replay:{EXAMPLES / "recordings" / "wikidata"}"
contact = "ops@example.org"
"""


@contextmanager
def table(folder: Path) -> Iterator[str]:
    row = {"subject": "Tom Brady", "relation": "P54", "object": "Boston", "date": "2020"}
    (folder / "rows.jsonl").write_text(json.dumps(row))
    yield 'path = "rows.jsonl"'


@contextmanager
def sql(folder: Path) -> Iterator[str]:
    yield """
connect = "duckdb:"
key = "id"
query = "SELECT 1 AS id, 'Ada' AS subject, 'P108' AS relation, 'Navy' AS object, 2020 AS date"
"""


@contextmanager
def feed(folder: Path) -> Iterator[str]:
    with serve() as site:
        url = site.put("/feed", rss(ENTRY))
        yield f"""
feeds = ["{url}"]
relations = ["P26"]
contact = "ops@example.org"
min_interval_s = 0
"""


@contextmanager
def dump(folder: Path) -> Iterator[str]:
    value = {"entity-type": "item", "numeric-id": 9, "id": "Q9"}
    snak = {
        "snaktype": "value",
        "property": "P6",
        "datatype": "wikibase-item",
        "datavalue": {"type": "wikibase-entityid", "value": value},
    }
    statement = {"id": "Q7$1", "type": "statement", "rank": "normal", "mainsnak": snak}
    items = [
        {
            "type": "item",
            "id": key,
            "labels": {"en": {"language": "en", "value": label}},
            "claims": claims,
            "lastrevid": 1,
            "modified": "2020-01-01T00:00:00Z",
        }
        for key, label, claims in (("Q7", "Norland", {"P6": [statement]}), ("Q9", "Ines Berg", {}))
    ]
    lines = ",\n".join(json.dumps(item) for item in items)
    (folder / "dump.json").write_text(f"[\n{lines}\n]\n")
    yield 'path = "dump.json"\nrelations = ["P6"]'


@contextmanager
def rdf(folder: Path) -> Iterator[str]:
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    (folder / "own.nt").write_text(
        f'<http://example.org/e1> {label} "Mara Lindqvist"@en .\n'
        f'<http://example.org/e2> {label} "Contoso"@en .\n'
        "<http://example.org/e1> <http://example.org/prop/P108> <http://example.org/e2> .\n"
    )
    yield """
path = "own.nt"
prefixes = { "http://example.org/prop/" = "", "http://example.org/" = "ex:" }
"""


RECIPES = {"wikidata": wikidata, "table": table, "sql": sql, "feed": feed, "dump": dump, "rdf": rdf}
"""By kind of source, what writes an input of it and yields the rest of its settings."""


def test_every_kind_has_a_recipe() -> None:
    """A kind that is registered without one is not tested below."""
    assert RECIPES.keys() == SOURCES.keys() | BULK_SOURCES.keys()


@pytest.mark.parametrize("kind", RECIPES)
def test_a_kind_reaches_a_plan(kind: str, world: Callable[..., Path], tmp_path: Path) -> None:
    """What the source says becomes changes, each is judged by the trust that its kind brings, and
    the plan says what becomes of each: an edit, a refusal, a place on the fact sheet, or a wait."""
    with RECIPES[kind](tmp_path) as settings:
        path = world()
        head, _, rest = path.read_text().partition("[[sources]]")
        source = f'[[sources]]\nkind = "{kind}"\nname = "own"\n{settings}\n'
        rest = rest[rest.index("[probe]") : rest.index("[[editions]]")]
        path.write_text(f"{head}{source}{rest}[[editions]]\nas_of = 2024-06-30\n")
        config = load_config(path)
        place = Workspace.at(str(tmp_path / "workspace"))
        run_editions(
            Run(
                config=config,
                config_dir=tmp_path,
                workspace=place,
                runner=InProcessRunner(),
            ),
            until="plan",
        )
    [version] = place.versions("plan")
    probed, planned = place.find("probe", version), place.find("plan", version)
    assert probed is not None and planned is not None
    found = from_table(probed.table(ASSESSMENTS), Assessment)
    assert found
    [own] = config.sources
    if own.quarantined:
        assert {row.state for row in found} == {"held"}
    elif own.base_trust == 1.0:
        assert "eligible" in {row.state for row in found}
    plan = Plan.read(planned)
    assert plan.edits or plan.held or plan.sheet or plan.refusals
