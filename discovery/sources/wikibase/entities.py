"""Read facts, names and skips from Wikibase's JSON of entities.

The format is Wikibase `docs/topics/json.md`, in every form that was served since 2014: an entity by
itself or inside `entities`, empty maps written as `[]`, ids given only as `numeric-id`, snaks
without a datatype. Each statement of a wanted relation becomes one fact
(`discovery.sources.wikibase.statements`).
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from discovery.facts.fact import Entity, Fact
from discovery.sources.observation import MAX_SAMPLE, Parsed, Skip
from discovery.sources.wikibase.names import LANGUAGE, read_names
from discovery.sources.wikibase.numbering import INSTANCE_OF, WIKIDATA, Numbering, is_property
from discovery.sources.wikibase.snaks import read_value
from discovery.sources.wikibase.statements import (
    MALFORMED,
    Origin,
    read_statement,
    unread_subject,
    without_id,
)

NO_STATEMENTS = "entity has no map of statements"
REPEATED = "remark: statement is repeated"
NO_RELATION = "statements have no property id"


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


def has_statements(entity: Mapping[str, Any]) -> bool:
    """Whether an entity holds its statements, be there none: PHP writes an empty map as `[]`."""
    claims = entity.get("claims")
    return isinstance(claims, dict) or claims == []


def referenced_items(entity: Mapping[str, Any], relations: Container[str] | None) -> set[str]:
    """Ids of the items and properties that are values of the entity's statements.

    relations  property ids that are read; None reads all
    """
    found = set()
    for _, _, statement in _statements(entity, relations):
        try:
            value, value_type = read_value(statement["mainsnak"])
        except MALFORMED:
            continue
        if value_type == "entity":
            found.add(value)
    return found


def stated_properties(entity: Mapping[str, Any], relations: Container[str] | None) -> set[str]:
    """Ids of the properties of the entity's statements, as the Wikibase has them.

    relations  property ids that are read; None reads all
    """
    return {key for key, _, _ in _statements(entity, relations)}


def parse_labels(payload: Any, source: str, numbering: Numbering = WIKIDATA) -> Parsed:
    """The entities in a `wbgetentities` answer, with labels and aliases; absent ones are skips."""
    entities, skips = [], []
    for key, entity in sorted(_map(payload.get("entities")).items()):
        if not isinstance(entity, dict):
            skips.append(Skip(source, "object without a label: the answer is malformed", key))
            continue
        if "missing" in entity:
            skips.append(Skip(source, "object without a label: no such entity", key))
            continue
        named, faults = name_entity(entity, key, source, numbering)
        skips += [Skip(source, text, key) for text in faults]
        if named.label is None:
            skips.append(Skip(source, f"object without a label in {LANGUAGE}", key))
        entities.append(named)
    return Parsed(entities=tuple(entities), skips=tuple(skips))


def parse_entity(
    entity: Mapping[str, Any],
    source: str,
    relations: Container[str] | None = None,
    *,
    numbering: Numbering = WIKIDATA,
    late: bool = False,
) -> Parsed:
    """The statements of an entity as facts, and its names. What cannot be read is a skip; where the
    subject and relation are known, it is an unreadable fact as well.

    relations  property ids that are read, as the Wikibase has them; None reads all
    numbering  how the Wikibase's ids are known in facts
    late       whether the entity was modified after the day that is wanted: what its statements
               were on that day is then unknown, without a skip

    Where it is unknown of which relations something cannot be read, there is one unreadable fact
    for all of them (`EVERY_RELATION`).
    """
    facts: list[Fact] = []
    skips: list[Skip] = []
    seen: dict[str, Fact] = {}
    key = str(entity["id"])
    revision, modified, user = _stamp(entity)
    origin = Origin(key, source, numbering, revision, modified, user)
    unknown = late
    if not has_statements(entity):
        unknown = True
        skips.append(Skip(source, NO_STATEMENTS, key))
    for name, position, statement in () if late else _statements(entity, relations):
        try:
            relation = numbering.property(name)
        except ValueError:
            unknown = True
            skips.append(Skip(source, NO_RELATION, _sample(key, name, statement)))
            continue
        read = read_statement(origin, relation, position, statement)
        if (known := seen.setdefault(read.fact.statement_id, read.fact)) is not read.fact:
            if known == read.fact:
                skips.append(Skip(source, REPEATED, read.fact.statement_id))
                continue
            read = without_id(read, position)
        facts.append(read.fact)
        if read.fault is not None:
            skips.append(Skip(source, read.fault, _sample(key, name, statement)))
        skips += [Skip(source, f"remark: {text}", read.fact.statement_id) for text in read.remarks]
    if unknown:
        facts.append(unread_subject(origin))
    types = {f.value for f in facts if f.relation == INSTANCE_OF and f.rank != "deprecated"} - {""}
    named, faults = name_entity(entity, key, source, numbering, types)
    skips += [Skip(source, text, key) for text in faults]
    return Parsed(tuple(facts), (named,), tuple(skips))


def name_entity(
    entity: Mapping[str, Any],
    key: str,
    source: str,
    numbering: Numbering = WIKIDATA,
    types: Iterable[str] = (),
) -> tuple[Entity, list[str]]:
    """The entity with label, aliases, types and number of sitelinks, and a reason for each name
    that is unusable.

    key    id that was asked for, which differs from the answer's in case of a redirect
    types  values of `instance of`
    """
    label, aliases, faults = read_names(entity)
    links = entity.get("sitelinks")
    named = Entity(
        id=numbering.entity(key),
        label=label,
        aliases=aliases,
        types=tuple(sorted(numbering.item_class(kind) for kind in types)),
        # a map, or a range of the same length: only their number counts
        num_sitelinks=len(links) if isinstance(links, dict | range) else 0,
        revision=_stamp(entity)[0],
        source=source,
    )
    return named, faults


def _sample(key: str, relation: Any, statement: Any) -> str:
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


def _statements(
    entity: Mapping[str, Any], relations: Container[str] | None
) -> Iterator[tuple[str, int, Any]]:
    """Property, number in its list, and statement, for all statements of the wanted relations and
    those without a property id. What is in the place of a list of statements counts as one
    statement, which is malformed."""
    for name, statements in sorted(_map(entity.get("claims")).items()):
        if relations is None or name in relations or not is_property(name):
            listed = statements if isinstance(statements, list) else [statements]
            for position, statement in enumerate(listed or [None]):
                yield name, position, statement


def _map(value: Any) -> Mapping[str, Any]:
    """The value if it is a map, else an empty one."""
    return value if isinstance(value, dict) else {}
