"""Read facts, names and skips from Wikibase's JSON of entities.

The format is Wikibase `docs/topics/json.md`, in every form that was served since 2014: an entity by
itself or inside `entities`, empty maps written as `[]`, ids given only as `numeric-id`, snaks
without a datatype.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

from discovery.facts.fact import Entity, Fact, Interval, Rank
from discovery.sources.observation import MAX_SAMPLE, Parsed, Skip
from discovery.sources.wikibase.snaks import (
    as_text,
    compact,
    read_bounds,
    read_date,
    read_value,
    type_of,
)

START, END, POINT = "P580", "P582", "P585"
INSTANCE_OF = "P31"
STATED_IN, REFERENCE_URL = "P248", "P854"
LANGUAGE = "en"
MAX_NAME = 1_000
"""Characters of the longest name; Wikibase allows 250 in a label or alias."""

_MALFORMED = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
_RANKS: dict[str, Rank] = {"preferred": "preferred", "normal": "normal", "deprecated": "deprecated"}


def find_entity(payload: Any, key: str) -> Mapping[str, Any] | None:
    """The entity object in a payload, by itself or inside `entities`; None where there is none.

    If the payload holds a single entity with another id, that is the target of a redirect.
    """
    if not isinstance(payload, dict):
        return None
    if "entities" not in payload:
        return payload if payload.get("id") == key else None
    entities = _map(payload["entities"])
    found = entities.get(key)
    if found is None and len(entities) == 1:
        (found,) = entities.values()
    return found if isinstance(found, dict) and "missing" not in found else None


def referenced_items(entity: Mapping[str, Any], relations: Container[str] | None) -> set[str]:
    """Ids of the items and properties that are values of the entity's statements.

    relations  property ids that are read; None reads all
    """
    found = set()
    for _, statement in _statements(entity, relations):
        try:
            value, value_type = read_value(statement["mainsnak"])
        except _MALFORMED:
            continue
        if value_type == "entity":
            found.add(value)
    return found


def parse_labels(payload: Any, source: str) -> Parsed:
    """The entities in a `wbgetentities` answer, with labels and aliases; absent ones are skips."""
    entities, skips = [], []
    for key, entity in sorted(_map(payload.get("entities")).items()):
        if not isinstance(entity, dict):
            skips.append(Skip(source, "object without a label: the answer is malformed", key))
            continue
        if "missing" in entity:
            skips.append(Skip(source, "object without a label: no such entity", key))
            continue
        named, remarks = _name(entity, key, source, _stamp(entity)[0])
        skips += [Skip(source, text, key) for text in remarks]
        if named.label is None:
            skips.append(Skip(source, f"object without a label in {LANGUAGE}", key))
        entities.append(named)
    return Parsed(entities=tuple(entities), skips=tuple(skips))


def parse_entity(
    entity: Mapping[str, Any], source: str, relations: Container[str] | None = None
) -> Parsed:
    """The statements of an entity as facts, and its names. Unreadable statements are skips.

    relations  property ids that are read; None reads all
    """
    facts: list[Fact] = []
    skips: list[Skip] = []
    key = str(entity["id"])
    stamp = _stamp(entity)
    for relation, statement in _statements(entity, relations):
        try:
            fact, remarks = _fact(key, stamp, relation, statement, source)
        except _MALFORMED as error:
            reason = str(error) if type(error) is ValueError else "statement is malformed"
            skips.append(Skip(source, _general(reason), _sample(key, relation, statement)))
            continue
        facts.append(fact)
        skips.extend(
            Skip(source, f"remark: {_general(text)}", fact.statement_id) for text in remarks
        )
    types = {f.value for f in facts if f.relation == INSTANCE_OF and f.rank != "deprecated"}
    named, remarks = _name(entity, key, source, stamp[0], tuple(sorted(types)))
    skips.extend(Skip(source, text, key) for text in remarks)
    return Parsed(tuple(facts), (named,), tuple(skips))


def _sample(key: str, relation: str, statement: Any) -> str:
    """The start of a statement as text, for a skip."""
    try:
        text = json.dumps(statement, ensure_ascii=False)
    except RecursionError:
        text = "nested deeply"
    return f"{key} {relation} {text}"[:MAX_SAMPLE]


def _stamp(entity: Mapping[str, Any]) -> tuple[int | None, str | None, str | None]:
    """Revision, its time and its user; None for each that is missing or malformed."""
    revision, modified, user = entity.get("lastrevid"), entity.get("modified"), entity.get("user")
    return (
        revision if type(revision) is int and 0 <= revision < 1 << 63 else None,
        modified if isinstance(modified, str) else None,
        user if isinstance(user, str) else None,
    )


def _fact(
    key: str,
    stamp: tuple[int | None, str | None, str | None],
    relation: str,
    statement: Mapping[str, Any],
    source: str,
) -> tuple[Fact, list[str]]:
    """The fact of one statement, and remarks on its dates.

    Raises ValueError with the reason, and any of `_MALFORMED` for a malformed statement.
    """
    main, remarks = statement["mainsnak"], []
    snaktype = main["snaktype"]
    if snaktype == "value":
        value, value_type = read_value(main)
    elif snaktype in ("somevalue", "novalue"):
        value, value_type = "", type_of(main)
    else:
        raise ValueError(f"snaktype {snaktype!r} is unknown")
    revision, modified, user = stamp
    dates: dict[str, Interval | None] = {}
    others = []
    for name, snaks in _map(statement.get("qualifiers")).items():
        dated = name in (START, END, POINT)
        if dated:
            dates[name], texts = read_date(snaks, modified)
            remarks.extend(texts)
        others += [[name, as_text(s)] for s in snaks if not dated or s["snaktype"] != "value"]
    fact = Fact(
        statement_id=str(statement["id"]),
        subject=key,
        relation=relation,
        value=value,
        bounds=read_bounds(main) if value_type == "quantity" and value else None,
        value_type=value_type,
        snaktype=snaktype,
        rank=_RANKS[statement.get("rank", "normal")],
        start=dates.get(START),
        end=dates.get(END),
        point=dates.get(POINT),
        qualifiers=compact(sorted(others)) if others else "[]",
        references=_references(statement),
        source=source,
        revision=revision,
        revision_time=modified,
        user=user,
    )
    return fact, remarks


def _references(statement: Mapping[str, Any]) -> tuple[str, ...]:
    """URLs and `stated in` ids of a statement's references. P143 (imported from Wikimedia project)
    is no evidence, and is left out."""
    found = set()
    for reference in statement.get("references", []):
        snaks = _map(reference.get("snaks"))
        for name in (STATED_IN, REFERENCE_URL):
            found.update(
                as_text(snak) for snak in snaks.get(name, []) if snak["snaktype"] == "value"
            )
    return tuple(sorted(found))


def _name(
    entity: Mapping[str, Any],
    key: str,
    source: str,
    revision: int | None,
    types: tuple[str, ...] = (),
) -> tuple[Entity, list[str]]:
    """The entity with label, aliases, types and number of sitelinks, and remarks on unusable names.

    key  id that was asked for, which differs from the answer's in case of a redirect
    """
    label = _map(entity.get("labels")).get(LANGUAGE)
    aliases = _map(entity.get("aliases")).get(LANGUAGE) or []
    links = entity.get("sitelinks")
    # a map, or a range of the same length: only their number counts
    remarks: list[str] = []
    also = [_term(alias, remarks) for alias in (aliases if isinstance(aliases, list) else [None])]
    named = Entity(
        id=key,
        label=None if label is None else _term(label, remarks),
        aliases=tuple(sorted({alias for alias in also if alias is not None})),
        types=types,
        num_sitelinks=len(links) if isinstance(links, dict | range) else 0,
        revision=revision,
        source=source,
    )
    return named, remarks


def _term(term: Any, remarks: list[str]) -> str | None:
    """The text of a label or alias; None where it cannot be used, which adds a remark."""
    text = term.get("value") if isinstance(term, dict) else None
    if not isinstance(text, str):
        remarks.append("name is malformed")
    elif len(text) > MAX_NAME:
        remarks.append(f"name is longer than {MAX_NAME} characters")
    else:
        return text
    return None


def _statements(
    entity: Mapping[str, Any], relations: Container[str] | None
) -> Iterator[tuple[str, Any]]:
    """Relation and statement, for all statements of the wanted relations."""
    for relation, statements in sorted(_map(entity.get("claims")).items()):
        if relations is None or relation in relations:
            for statement in statements if isinstance(statements, list) else [statements]:
                yield relation, statement


def _map(value: Any) -> Mapping[str, Any]:
    """The value if it is a map, else an empty one: PHP writes an empty map as `[]`."""
    return value if isinstance(value, dict) else {}


def _general(reason: str) -> str:
    """A reason without the quoted value, so that equal faults are counted together."""
    return re.sub(r"'[^']*'", "...", reason)
