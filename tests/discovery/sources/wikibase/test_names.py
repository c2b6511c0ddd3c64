"""Which of an entity's names is its label, in all three readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dump_helpers import dump_config, dump_of, item, line_of, read, write
from rdf_writer import Writer

from discovery.facts.fact import Entity
from discovery.sources.rdf.files import RdfConfig
from discovery.sources.wikibase.entities import parse_entity, parse_labels


def term(language: str, text: str) -> dict[str, str]:
    return {"language": language, "value": text}


def names(labels: dict[str, str], aliases: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "labels": {code: term(code, text) for code, text in labels.items()},
        "aliases": {code: [term(code, text) for text in of] for code, of in aliases.items()},
    }


def by_api(value: Any, place: Path) -> Entity:
    return parse_entity(value, "s").entities[0]


def as_object(value: Any, place: Path) -> Entity:
    return parse_labels({"entities": {value["id"]: value}}, "s").entities[0]


def by_dump(value: Any, place: Path) -> Entity:
    write(place / "d.json", dump_of(line_of(value)))
    return read(dump_config("d.json"), place).entities[0]


def by_rdf(value: Any, place: Path) -> Entity:
    writer = Writer()
    writer.entity(value)
    (place / "d.nt").write_bytes(writer.text())
    return read(RdfConfig(name="s", path="d.nt", wikibase=True), place).entities[0]


CASES: list[tuple[dict[str, str], dict[str, list[str]], str | None, tuple[str, ...]]] = [
    ({"en": "Vienna", "mul": "Wien", "de": "Wien"}, {}, "Vienna", ()),
    ({"mul": "Mara Lindqvist", "de": "Mara L."}, {}, "Mara Lindqvist", ()),
    ({"mul": "M"}, {"mul": ["L"], "en": ["K"], "de": ["J"], "en-gb": ["I"]}, "M", ("K", "L")),
    ({"en-gb": "Colour", "en-ca": "Colour!"}, {"en-gb": ["Hue"], "en-ca": ["Tint"]}, "Colour",
     ("Hue",)),
    ({"en-us": "Color", "en-gb": "Colour", "mul": "C"}, {}, "C", ()),
    ({"de": "Farbe"}, {"mul": ["x"]}, None, ("x",)),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "aliases", "label", "also"), CASES)
@pytest.mark.parametrize("reader", [by_api, as_object, by_dump, by_rdf])
def test_english_else_the_name_in_all_languages(
    tmp_path: Path, reader: Any, labels: Any, aliases: Any, label: str | None, also: Any
) -> None:
    """A regional English only where there is neither; aliases of English, of all languages, and of
    the label's language."""
    found = reader(item("Q1", **names(labels, aliases)), tmp_path)
    assert (found.label, found.aliases) == (label, also)


def test_a_name_that_cannot_be_used_leaves_the_next() -> None:
    """A malformed or empty English label is counted, and the one in all languages is taken."""
    for bad in ({"value": ""}, {"value": 7}, "text", {"value": "x" * 2000}):
        value = item("Q1", labels={"en": bad, "mul": term("mul", "M")})
        parsed = parse_entity(value, "s")
        assert parsed.entities[0].label == "M" and len(parsed.skips) == 1
