"""Wikibase's JSON of entities -> facts, entities and counted skips.

The format is Wikibase `docs/topics/json.md`, in every form that was served since 2014: an entity by
itself or below `entities`, empty maps as `[]`, ids given as `numeric-id` alone, snaks without a
datatype.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from discovery.dates import FAR_PAST, iso_interval, to_iso, wikibase_interval
from discovery.evidence import BOUNDS
from discovery.fact import Entity, Fact, Interval, Rank, ValueType
from discovery.sources.observation import MAX_SAMPLE, Parsed, Skip

ENTITY_ID = re.compile(r"[QPL][1-9]\d{0,14}")
START, END, POINT = "P580", "P582", "P585"
INSTANCE_OF = "P31"
STATED_IN, REFERENCE_URL = "P248", "P854"
LANGUAGE = "en"

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


def referenced_items(entity: Mapping[str, Any], relations: tuple[str, ...] | None) -> set[str]:
    """Ids of the items and properties that the entity's statements have as values."""
    found = set()
    for relation, statement in _statements(entity, relations):
        try:
            value, value_type = _value(statement["mainsnak"])
        except (KeyError, TypeError, ValueError, ArithmeticError):
            continue
        if value_type == "entity" and relation:
            found.add(value)
    return found


def parse_labels(payload: Any, source: str) -> Parsed:
    """Entities of a `wbgetentities` answer with labels and aliases; absent ones are skips."""
    entities, skips = [], []
    for key, entity in sorted(_map(payload.get("entities")).items()):
        if "missing" in entity:
            skips.append(Skip(source, "object without a label: no such entity", key))
            continue
        named = _name(entity, key, source)
        if named.label is None:
            skips.append(Skip(source, f"object without a label in {LANGUAGE}", key))
        entities.append(named)
    return Parsed(entities=tuple(entities), skips=tuple(skips))


def parse_entity(
    entity: Mapping[str, Any], source: str, relations: tuple[str, ...] | None = None
) -> Parsed:
    """All statements of an entity as facts. A statement that cannot be read is a skip."""
    facts: list[Fact] = []
    skips: list[Skip] = []
    key = str(entity["id"])
    for relation, statement in _statements(entity, relations):
        try:
            fact, remarks = _fact(entity, relation, statement, source)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            reason = str(error) if type(error) is ValueError else "statement is malformed"
            sample = f"{key} {relation} {json.dumps(statement, ensure_ascii=False)}"
            skips.append(Skip(source, _general(reason), sample[:MAX_SAMPLE]))
            continue
        facts.append(fact)
        skips.extend(
            Skip(source, f"remark: {_general(text)}", fact.statement_id) for text in remarks
        )
    types = sorted({f.value for f in facts if f.relation == INSTANCE_OF and f.rank != "deprecated"})
    named = _name(entity, key, source, types=tuple(types))
    return Parsed(tuple(facts), (named,), tuple(skips))


def _fact(
    entity: Mapping[str, Any], relation: str, statement: Mapping[str, Any], source: str
) -> tuple[Fact, list[str]]:
    """One statement. Raises ValueError with the reason, or what a malformed one provokes."""
    main, remarks = statement["mainsnak"], []
    snaktype = main["snaktype"]
    if snaktype not in ("value", "somevalue", "novalue"):
        raise ValueError(f"snaktype {snaktype!r} is unknown")
    value, value_type = _value(main) if snaktype == "value" else ("", _value_type(main))
    qualifiers = _map(statement.get("qualifiers"))
    modified = entity.get("modified")
    dates = {}
    for name in (START, END, POINT):
        dates[name], texts = _date(qualifiers.get(name, []), modified)
        remarks.extend(texts)
    others = sorted(
        [name, _text(snak)]
        for name, snaks in qualifiers.items()
        for snak in snaks
        if name not in (START, END, POINT) or _text(snak) in ("somevalue", "novalue")
    )
    if value_type == "quantity":
        others = sorted([*others, *_bounds(main)])
    fact = Fact(
        statement_id=str(statement["id"]),
        subject=str(entity["id"]),
        relation=relation,
        value=value,
        value_type=value_type,
        snaktype=snaktype,
        rank=_RANKS[statement.get("rank", "normal")],
        start=dates[START],
        end=dates[END],
        point=dates[POINT],
        qualifiers=json.dumps(others, ensure_ascii=False, separators=(",", ":")),
        references=_references(statement),
        source=source,
        revision=entity.get("lastrevid"),
        revision_time=modified,
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
    value, kind = snak["datavalue"]["value"], snak["datavalue"]["type"]
    if kind == "wikibase-entityid":
        key = value.get("id") or f"{_PREFIX[value['entity-type']]}{value['numeric-id']}"
        if not ENTITY_ID.fullmatch(key):
            raise ValueError("value is an entity of an unsupported kind")
        return key, "entity"
    if kind == "string":
        plain = snak.get("datatype", "string") == "string"
        return value, "string" if plain else "other"
    if kind == "quantity":
        try:
            amount = Decimal(value["amount"])
        except InvalidOperation:
            raise ValueError("amount of a quantity is not a decimal number") from None
        unit = str(value.get("unit", "1")).rpartition("/")[2]
        return f"{amount:+f}" + (f" {unit}" if unit != "1" else ""), "quantity"
    if kind == "time":
        interval, _ = wikibase_interval(value)
        return to_iso(interval), "time"
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")), "other"


def _bounds(snak: Mapping[str, Any]) -> list[list[str]]:
    """How far off a quantity may be, as a pseudo-qualifier, so that its value stays its value.

    The published example has the bounds swapped, so they are put in order."""
    value = snak["datavalue"]["value"] if snak["snaktype"] == "value" else {}
    if "lowerBound" not in value or "upperBound" not in value:
        return []
    low, high = sorted((Decimal(value["lowerBound"]), Decimal(value["upperBound"])))
    return [[BOUNDS, f"{low:+f}/{high:+f}"]]


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


def _name(entity: Mapping[str, Any], key: str, source: str, types: tuple[str, ...] = ()) -> Entity:
    """Label, aliases and weight. A redirect's answer keeps the id that was asked for."""
    label = _map(entity.get("labels")).get(LANGUAGE)
    aliases = _map(entity.get("aliases")).get(LANGUAGE, [])
    return Entity(
        id=key,
        label=label["value"] if label else None,
        aliases=tuple(sorted({alias["value"] for alias in aliases})),
        types=types,
        num_sitelinks=len(_map(entity.get("sitelinks"))),
        revision=entity.get("lastrevid"),
        source=source,
    )


def _statements(
    entity: Mapping[str, Any], relations: tuple[str, ...] | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for relation, statements in sorted(_map(entity.get("claims")).items()):
        if relations is None or relation in relations:
            for statement in statements:
                yield relation, statement


def _map(value: Any) -> Mapping[str, Any]:
    """A JSON map; PHP writes an empty one as `[]`."""
    return value if isinstance(value, dict) else {}


def _general(reason: str) -> str:
    """A reason without the particular value, so that it counts with its like."""
    return re.sub(r"'[^']*'", "...", reason)
