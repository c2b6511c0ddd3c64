"""Wikibase's JSON of entities -> facts, entities and counted skips.

The format is Wikibase `docs/topics/json.md`, in every form that was served since 2014: an entity by
itself or below `entities`, empty maps as `[]`, ids given as `numeric-id` alone, snaks without a
datatype.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from discovery.dates import FAR_PAST, iso_interval, to_iso, wikibase_interval
from discovery.fact import Entity, Fact, Interval, Rank, ValueType
from discovery.sources.observation import MAX_SAMPLE, Parsed, Skip

ENTITY_ID = re.compile(r"[QPL][1-9]\d{0,14}")
START, END, POINT = "P580", "P582", "P585"
INSTANCE_OF = "P31"
STATED_IN, REFERENCE_URL = "P248", "P854"
LANGUAGE = "en"
MAX_NAME = 1_000
"""Characters; Wikibase allows 250 of a label or alias."""
MAX_VALUE, MAX_DIGITS = 10_000, 1_000
"""Characters of a value, and places of a quantity; Wikibase allows 2,500 and 127."""

_MALFORMED = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
_PREFIX = {"item": "Q", "property": "P", "lexeme": "L"}
_RANKS: dict[str, Rank] = {"preferred": "preferred", "normal": "normal", "deprecated": "deprecated"}


def find_entity(payload: Any, key: str) -> Mapping[str, Any] | None:
    """The entity object of a payload in either layout; a redirect's target where it is alone."""
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
    """Ids of the items and properties that the entity's statements have as values."""
    found = set()
    for _, statement in _statements(entity, relations):
        try:
            value, value_type = _value(statement["mainsnak"])
        except _MALFORMED:
            continue
        if value_type == "entity":
            found.add(value)
    return found


def parse_labels(payload: Any, source: str) -> Parsed:
    """Entities of a `wbgetentities` answer with labels and aliases; absent ones are skips."""
    entities, skips = [], []
    for key, entity in sorted(_map(payload.get("entities")).items()):
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
    """All statements of an entity as facts. A statement that cannot be read is a skip."""
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
    try:
        text = json.dumps(statement, ensure_ascii=False)
    except RecursionError:
        text = "nested deeply"
    return f"{key} {relation} {text}"[:MAX_SAMPLE]


def _stamp(entity: Mapping[str, Any]) -> tuple[int | None, str | None, str | None]:
    """Revision, its time and its user, where they are what they should be."""
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
    """One statement. Raises ValueError with the reason, or what a malformed one provokes."""
    main, remarks = statement["mainsnak"], []
    snaktype = main["snaktype"]
    if snaktype == "value":
        value, value_type = _value(main)
    elif snaktype in ("somevalue", "novalue"):
        value, value_type = "", _value_type(main)
    else:
        raise ValueError(f"snaktype {snaktype!r} is unknown")
    revision, modified, user = stamp
    dates: dict[str, Interval | None] = {}
    others = []
    for name, snaks in _map(statement.get("qualifiers")).items():
        dated = name in (START, END, POINT)
        if dated:
            dates[name], texts = _date(snaks, modified)
            remarks.extend(texts)
        others += [[name, _text(s)] for s in snaks if not dated or s["snaktype"] != "value"]
    fact = Fact(
        statement_id=str(statement["id"]),
        subject=key,
        relation=relation,
        value=value,
        value_type=value_type,
        snaktype=snaktype,
        rank=_RANKS[statement.get("rank", "normal")],
        start=dates.get(START),
        end=dates.get(END),
        point=dates.get(POINT),
        qualifiers=_compact(sorted(others)) if others else "[]",
        references=_references(statement),
        source=source,
        revision=revision,
        revision_time=modified,
        user=user,
    )
    return fact, remarks


def _date(snaks: list[Any], modified: str | None) -> tuple[Interval | None, list[str]]:
    """The first date of a qualifier; `somevalue` is some day up to the revision, `novalue` none."""
    for snak in snaks:
        if snak["snaktype"] == "somevalue":
            latest = iso_interval(modified).latest if modified else -FAR_PAST
            return Interval(FAR_PAST, latest, 0), []
        if snak["snaktype"] == "value":
            interval, remark = wikibase_interval(snak["datavalue"]["value"])
            return interval, [remark] if remark else []
    return None, []


def _value_type(snak: Mapping[str, Any]) -> ValueType:
    """The type by the property's datatype, for snaks without a value."""
    types: dict[str, ValueType] = {
        "wikibase-item": "entity",
        "wikibase-property": "entity",
        "string": "string",
        "quantity": "quantity",
        "time": "time",
    }
    return types.get(snak.get("datatype", ""), "other")


def _value(snak: Mapping[str, Any]) -> tuple[str, ValueType]:
    """Canonical text and type of a snak's value. Raises ValueError with the reason."""
    text, value_type = _plain_value(snak)
    if len(text) > MAX_VALUE:
        raise ValueError(f"value is longer than {MAX_VALUE} characters")
    return text, value_type


def _plain_value(snak: Mapping[str, Any]) -> tuple[str, ValueType]:
    """As `_value`, however long."""
    value, kind = snak["datavalue"]["value"], snak["datavalue"]["type"]
    if kind == "wikibase-entityid":
        key = value.get("id") or f"{_PREFIX[value['entity-type']]}{value['numeric-id']}"
        if not ENTITY_ID.fullmatch(key):
            raise ValueError("value is an entity of an unsupported kind")
        return key, "entity"
    if kind == "string":
        if not isinstance(value, str):
            raise ValueError("value of a string is none")
        plain = snak.get("datatype", "string") == "string"
        return value, "string" if plain else "other"
    if kind == "quantity":
        try:
            amount = Decimal(value["amount"])
        except InvalidOperation:
            raise ValueError("amount of a quantity is not a decimal number") from None
        if not amount.is_finite() or abs(amount.adjusted()) > MAX_DIGITS:
            raise ValueError("amount of a quantity has too many digits")
        unit = str(value.get("unit", "1")).rpartition("/")[2]
        return f"{amount:+f}" + (f" {unit}" if unit != "1" else ""), "quantity"
    if kind == "time":
        interval, _ = wikibase_interval(value)
        return to_iso(interval), "time"
    return _compact(value), "other"


def _text(snak: Mapping[str, Any]) -> str:
    """A qualifier's value as canonical text, or its snaktype."""
    return snak["snaktype"] if snak["snaktype"] != "value" else _value(snak)[0]


def _references(statement: Mapping[str, Any]) -> tuple[str, ...]:
    """URLs and `stated in` ids; P143 (imported from) is no evidence and left out."""
    found = set()
    for reference in statement.get("references", []):
        snaks = _map(reference.get("snaks"))
        for name in (STATED_IN, REFERENCE_URL):
            found.update(_text(snak) for snak in snaks.get(name, []) if snak["snaktype"] == "value")
    return tuple(sorted(found))


def _name(
    entity: Mapping[str, Any],
    key: str,
    source: str,
    revision: int | None,
    types: tuple[str, ...] = (),
) -> tuple[Entity, list[str]]:
    """Label, aliases and weight, and what of the names cannot be used. A redirect's answer keeps
    the id that was asked for."""
    label = _map(entity.get("labels")).get(LANGUAGE)
    aliases = _map(entity.get("aliases")).get(LANGUAGE) or []
    links = entity.get("sitelinks")
    # a map, or a range as long: only their number counts
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
    """The text of a label or alias; None, with a remark, where it cannot be used."""
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
    for relation, statements in sorted(_map(entity.get("claims")).items()):
        if relations is None or relation in relations:
            for statement in statements if isinstance(statements, list) else [statements]:
                yield relation, statement


def _map(value: Any) -> Mapping[str, Any]:
    """A JSON map; PHP writes an empty one as `[]`."""
    return value if isinstance(value, dict) else {}


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""The one JSON text of a value."""


def _general(reason: str) -> str:
    """A reason without the particular value: it counts with its like."""
    return re.sub(r"'[^']*'", "...", reason)
