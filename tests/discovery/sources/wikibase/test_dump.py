"""JSON dumps: in every form they were written in, damaged in every way, at any size."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dump_helpers import (
    AFTER_ALL,
    DATA,
    dump_config,
    dump_of,
    item,
    items,
    line_of,
    payload,
    read,
    recorded_entities,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from discovery.sources import make_bulk_source
from discovery.sources.blocks import Block
from discovery.sources.wikibase.dump import LATE
from discovery.sources.wikibase.entities import parse_entity


@pytest.mark.parametrize("relations", [None, ("P31", "P69"), ("P1082", "P569", "P580")])
@pytest.mark.parametrize("names", ["all", "facts"])
def test_a_dump_says_what_its_entities_say(
    tmp_path: Path, relations: tuple[str, ...] | None, names: Any
) -> None:
    """Facts, names and skips of every recorded entity are those of the entity read by itself."""
    entities = recorded_entities()
    write(tmp_path / "d.json.gz", dump_of(*(line_of({"type": "item", **e}) for e in entities)))
    found = read(dump_config(relations=relations, names=names), tmp_path)
    expected = [parse_entity(entity, "dump", relations) for entity in entities]
    assert found.facts == [fact for parsed in expected for fact in parsed.facts]
    assert len(found.facts) > (3 if relations else 300)
    named = [parsed.entities[0] for parsed in expected if names == "all" or parsed.facts]
    assert found.entities == named
    assert sum(found.reasons.values()) == sum(len(parsed.skips) for parsed in expected)


def test_wikidatas_own_dumps() -> None:
    """Two real ones, of 2015: items are read, properties counted, empty lists are empty maps."""
    for name, facts in (("sample-dump-20150815", 119), ("mock-dump-with-bugs", 119)):
        found = read(dump_config(f"{name}.json.gz"), DATA)
        assert found.reasons == {"entity is a property, not an item": 46}
        lines = gzip.decompress((DATA / f"{name}.json.gz").read_bytes()).decode().splitlines()
        parsed = [json.loads(line.rstrip(",")) for line in lines if line.startswith("{")]
        wanted = [entity for entity in parsed if entity["type"] == "item"]
        assert [entity.id for entity in found.entities] == [entity["id"] for entity in wanted]
        statements = [s["id"] for e in wanted for p in sorted(e["claims"]) for s in e["claims"][p]]
        assert [fact.statement_id for fact in found.facts] == statements
        assert len(statements) == facts


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".json.bz2"])
@pytest.mark.parametrize(
    ("begin", "between", "end"),
    [
        (b"[\n", b",\n", b"\n]\n"),
        (b"[\n", b",\n", b",\n]\n"),
        (b"[\n", b",\n", b"\n]"),
        (b"[\r\n", b",\r\n", b"\r\n]\r\n"),
        (b"\n[\n\n", b",\n\n", b"\n\n]\n\n"),
        (b"", b"\n", b"\n"),
        (b"", b"\n", b""),
    ],
)
def test_forms_of_a_dump(
    tmp_path: Path, suffix: str, begin: bytes, between: bytes, end: bytes
) -> None:
    """Commas or none, blank lines, either end of line, an array or lines alone."""
    content = begin + between.join(items(5)) + end
    write(tmp_path / f"d{suffix}", content)
    for names in ("all", "facts"):
        found = read(dump_config(f"d{suffix}", relations=("P31",), names=names), tmp_path)
        assert [fact.subject for fact in found.facts] == ["Q1", "Q2", "Q3", "Q4", "Q5"]
        assert found.skips == []


@settings(max_examples=50, deadline=None)
@given(
    relations=st.sets(st.integers(1, 300), min_size=1, max_size=12),
    keys=st.lists(st.integers(1, 300), min_size=1, max_size=12, unique=True),
)
def test_the_filter_loses_nothing(relations: set[int], keys: list[int]) -> None:
    """Whatever the relations, an item has facts with the filter where it has them without."""
    wanted = tuple(f"P{n}" for n in sorted(relations))
    lines = b"".join(
        line_of(item(f"Q{n}", relation=f"P{key}")) + b",\n" for n, key in enumerate(keys, 1)
    )
    block = Block(id="0", as_of=AFTER_ALL, lines=lines, num_lines=len(keys))
    all_, some = (
        make_bulk_source(dump_config(relations=wanted, names=names)).read(block).facts
        for names in ("all", "facts")
    )
    assert some == all_
    assert {fact.relation for fact in some} == {f"P{key}" for key in keys} & set(wanted)


def test_what_is_not_wanted(tmp_path: Path) -> None:
    """Lexemes and properties are counted by kind; entities and relations that are not asked for
    have no facts."""
    lexeme, prop = payload(DATA / "L3354.json.gz"), payload(DATA / "P8098.json.gz")
    lines = [line_of(e) for e in (item("Q1"), lexeme, prop, item("Q2"), item("Q3", relation="P6"))]
    write(tmp_path / "d.json.gz", dump_of(*lines))
    found = read(dump_config(relations=("P31",), entities=("Q2", "Q3")), tmp_path)
    assert [fact.subject for fact in found.facts] == ["Q2"]
    assert [entity.id for entity in found.entities] == ["Q1", "Q2", "Q3"]
    reasons = {f"entity is a {kind}, not an item": 1 for kind in ("lexeme", "property")}
    assert found.reasons == reasons
    some = read(dump_config(relations=("P31",), entities=("Q2", "Q3"), names="facts"), tmp_path)
    assert [entity.id for entity in some.entities] == ["Q2"]
    with pytest.raises(ValidationError, match="'P31' is no item id such as Q42"):
        dump_config(entities=("P31",))


def test_entities_of_after_the_day(tmp_path: Path) -> None:
    """A dump is not of one instant: what was modified later has a name and is counted, and what it
    stated on the day is unknown."""
    stamps = ("2020-01-01T00:00:00Z", "2020-01-01T23:59:59Z", "2020-01-02T00:00:00Z")
    lines = [
        line_of(item(f"Q{n}", modified=stamp, lastrevid=n)) for n, stamp in enumerate(stamps, 1)
    ]
    write(tmp_path / "d.json.gz", dump_of(*lines))
    found = read(dump_config(), tmp_path, as_of=date(2020, 1, 1))
    assert [(f.subject, f.snaktype, f.revision, f.revision_time) for f in found.facts] == [
        ("Q1", "value", 1, stamps[0]),
        ("Q2", "value", 2, stamps[1]),
        ("Q3", "unreadable", 3, stamps[2]),
    ]
    assert [entity.id for entity in found.entities] == ["Q1", "Q2", "Q3"]
    assert found.reasons == {LATE: 1} and found.skips[0].sample == "Q3"


def test_reading_is_pure(tmp_path: Path) -> None:
    """The same block says the same to any reader, in any order."""
    write(tmp_path / "d.json", dump_of(*items(3)))
    source, other = (make_bulk_source(dump_config("d.json"), tmp_path) for _ in range(2))
    (block,) = source.blocks(AFTER_ALL)
    assert source.read(block) == other.read(block) == source.read(block)


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
@pytest.mark.parametrize("layout", ["indented", "one line", "bracket", "pairs", "wrapped", "mark"])
def test_layouts_of_other_programs(tmp_path: Path, suffix: str, layout: str) -> None:
    """Indented by jq, in one line, with the bracket in the first line, several in a line, as the
    API answers, with a byte order mark: all entities are read, and nothing is skipped."""
    made = [item(f"Q{n}") for n in range(1, 6)]
    lines = [line_of(entity) for entity in made]
    content = {
        "indented": json.dumps(made, indent=2).encode(),
        "one line": json.dumps(made).encode(),
        "bracket": b"[" + b",\n".join(lines) + b"]",
        "pairs": b"[\n" + lines[0] + b",\n" + b",".join(lines[1:4]) + b",\n" + lines[4] + b"\n]\n",
        "wrapped": json.dumps({"entities": {e["id"]: e for e in made}}, indent=1).encode(),
        "mark": b"\xef\xbb\xbf" + dump_of(*lines),
    }[layout]
    write(tmp_path / f"d{suffix}", content)
    for names in ("all", "facts"):
        found = read(dump_config(f"d{suffix}", relations=("P31",), names=names), tmp_path)
        assert [fact.subject for fact in found.facts] == ["Q1", "Q2", "Q3", "Q4", "Q5"]
        assert found.skips == []


def test_dumps_one_after_the_other(tmp_path: Path) -> None:
    """Both are read; the snapshot keeps the later revision of an entity that is in both."""
    first = dump_of(line_of(item("Q1", lastrevid=1)), line_of(item("Q2", lastrevid=1)))
    second = dump_of(line_of(item("Q2", lastrevid=2)), line_of(item("Q3", lastrevid=2)))
    for between in (b"", b"\n\n"):
        write(tmp_path / "d.json", first.rstrip() + between + second)
        found = read(dump_config("d.json"), tmp_path)
        assert [(f.subject, f.revision) for f in found.facts] == [
            *(("Q1", 1), ("Q2", 1), ("Q2", 2), ("Q3", 2)),
        ]
        assert found.skips == []


def test_entities_of_other_kinds(tmp_path: Path) -> None:
    """Properties, lexemes and kinds of extensions are counted, and no damage."""
    kinds = {"property": "P5", "lexeme": "L5", "mediainfo": "M5", "entity-schema": "E5"}
    lines = [line_of({"type": kind, "id": key, "claims": {}}) for kind, key in kinds.items()]
    write(tmp_path / "d.json", dump_of(*items(1), *lines))
    found = read(dump_config("d.json"), tmp_path)
    assert [fact.subject for fact in found.facts] == ["Q1"]
    assert sum(found.reasons.values()) == len(kinds)
    assert not any(skip.damage for skip in found.skips)
