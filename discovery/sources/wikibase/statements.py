"""Read one statement of Wikibase's JSON as a fact.

A part that cannot be read costs as little as it decides. Value, rank and dates decide what the
statement means: where one of them is unreadable, the fact is, and nothing may be concluded from its
group. A qualifier without a date, or a reference, costs itself alone; of a qualifier that cannot be
read its presence is kept, because that is all that matters of one that restricts or contests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from discovery.facts.fact import EVERY_RELATION, Fact, Interval, Rank, SnakType, ValueType
from discovery.sources.wikibase.numbering import (
    END,
    POINT,
    REFERENCE_URL,
    START,
    STATED_IN,
    Numbering,
)
from discovery.sources.wikibase.snaks import compact, read_bounds, read_date, read_value, type_of

UNREADABLE: Literal["unreadable"] = "unreadable"
"""Stands for the value of a qualifier that cannot be read."""
MALFORMED = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
"""What reading a malformed part may raise."""
_RANKS: dict[str, Rank] = {"preferred": "preferred", "normal": "normal", "deprecated": "deprecated"}
_NO_MAP = "qualifiers are not a map by property"


@dataclass(frozen=True, slots=True)
class Origin:
    """What all statements of one entity share."""

    subject: str
    source: str
    numbering: Numbering
    revision: int | None = None
    modified: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact, and what could not be read of it."""

    fact: Fact
    fault: str | None
    """Why the fact is unreadable; None where it is readable."""
    remarks: tuple[str, ...]
    """Reasons for parts that do not count, and oddities of dates."""


@dataclass(frozen=True, slots=True)
class _Main:
    """The content of a main snak."""

    snaktype: SnakType
    value: str = ""
    value_type: ValueType = "other"
    bounds: str | None = None


class _Reading:
    """Reasons for what could not be read so far."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.remarks: list[str] = []
        self.dates: dict[str, Interval | None] = {}
        self.others: list[list[str]] = []


def read_statement(origin: Origin, relation: str, position: int, statement: Any) -> Statement:
    """The fact of one statement, which is unreadable where its value, rank or dates are.

    relation  the property's id in facts
    position  number of the statement in its list, which identifies one without an id
    """
    given: Mapping[str, Any] = statement if isinstance(statement, dict) else {}
    reading = _Reading()
    main = _Main(UNREADABLE)
    rank: Rank = "normal"
    try:
        main = _main(given["mainsnak"], origin.numbering)
        rank = _rank(given.get("rank", "normal"))
    except MALFORMED as error:
        reading.faults.append(reason_of(error, "statement is malformed"))
    _read_qualifiers(given.get("qualifiers"), origin, reading)
    references = _references(given.get("references"), origin.numbering, reading)
    key = given.get("id")
    if not isinstance(key, str):
        reading.faults.append("statement has no id")
        key = f"{origin.subject}${relation}-{position}"
    fault = reading.faults[0] if reading.faults else None
    fact = Fact(
        statement_id=key,
        subject=origin.subject,
        relation=relation,
        value=main.value,
        bounds=main.bounds,
        value_type=main.value_type,
        snaktype=main.snaktype,
        rank=rank,
        start=reading.dates.get(START),
        end=reading.dates.get(END),
        point=reading.dates.get(POINT),
        qualifiers=compact(sorted(reading.others)) if reading.others else "[]",
        references=references,
        source=origin.source,
        revision=origin.revision,
        revision_time=origin.modified,
        user=origin.user,
    )
    return Statement(unread(fact) if fault else fact, fault, tuple(reading.remarks))


def without_id(read: Statement, position: int) -> Statement:
    """A statement that has the id of another one of its entity, as one that is unreadable."""
    fact = read.fact
    key = f"{fact.subject}${fact.relation}-{position}"
    fault = read.fault or "statement has the id of another"
    return replace(read, fact=unread(replace(fact, statement_id=key)), fault=fault)


def unread(fact: Fact) -> Fact:
    """The fact as one that is unreadable."""
    return replace(fact, value="", bounds=None, value_type="other", snaktype=UNREADABLE)


def unread_subject(origin: Origin) -> Fact:
    """An unreadable fact for all relations of an entity."""
    return Fact(
        statement_id=origin.subject,
        subject=origin.subject,
        relation=EVERY_RELATION,
        value="",
        value_type="other",
        snaktype=UNREADABLE,
        source=origin.source,
        revision=origin.revision,
        revision_time=origin.modified,
        user=origin.user,
    )


def reason_of(error: Exception, otherwise: str) -> str:
    """The reason in an error that has one, without the quoted value, so that equal faults are
    counted together; else another text."""
    return re.sub(r"'[^']*'", "...", str(error)) if type(error) is ValueError else otherwise


def _main(snak: Mapping[str, Any], numbering: Numbering) -> _Main:
    """The content of a main snak. Raises any of `MALFORMED`."""
    snaktype = snak["snaktype"]
    if snaktype in ("somevalue", "novalue"):
        return _Main(snaktype, value_type=type_of(snak))
    if snaktype != "value":
        raise ValueError(f"snaktype {snaktype!r} is unknown")
    value, value_type = _value(snak, numbering)
    return _Main(
        "value", value, value_type, read_bounds(snak) if value_type == "quantity" else None
    )


def _value(snak: Mapping[str, Any], numbering: Numbering) -> tuple[str, ValueType]:
    """Canonical text and type of a snak's value, with ids as they are known in facts."""
    value, value_type = read_value(snak)
    return (numbering.entity(value) if value_type == "entity" else value), value_type


def _rank(given: Any) -> Rank:
    """The rank. Raises ValueError for one that is unknown."""
    if not isinstance(given, str) or given not in _RANKS:
        raise ValueError("rank is malformed: none of preferred, normal, deprecated")
    return _RANKS[given]


def _read_qualifiers(given: Any, origin: Origin, reading: _Reading) -> None:
    """Add dates and other qualifiers to what was read. What may be a date is a fault where it
    cannot be read."""
    if not isinstance(given, dict):
        if given:  # PHP writes an empty map as []
            reading.faults.append(_NO_MAP)
        return
    for key, listed in given.items():
        try:
            name = origin.numbering.property(key)
        except ValueError:
            reading.faults.append("qualifier has no property id")
            continue
        snaks: list[Any] = listed if isinstance(listed, list) and listed else [None]
        if name in (START, END, POINT):
            try:
                reading.dates[name], texts = read_date(snaks, origin.modified)
                reading.remarks += texts
                empty = [snak["snaktype"] for snak in snaks if snak["snaktype"] != "value"]
                reading.others += [[name, snaktype] for snaktype in empty]
            except MALFORMED as error:
                reading.faults.append(reason_of(error, "date of the statement is malformed"))
        else:
            reading.others += [[name, _qualifier(snak, origin, reading)] for snak in snaks]


def _qualifier(snak: Any, origin: Origin, reading: _Reading) -> str:
    """A qualifier's value as canonical text, its snaktype, or `UNREADABLE` with a remark."""
    try:
        snaktype = snak["snaktype"]
        if snaktype in ("somevalue", "novalue"):
            return snaktype
        return _value(snak, origin.numbering)[0]
    except MALFORMED as error:
        reading.remarks.append(f"qualifier is unreadable: {reason_of(error, 'it is malformed')}")
        return UNREADABLE


def _references(given: Any, numbering: Numbering, reading: _Reading) -> tuple[str, ...]:
    """URLs and `stated in` ids of a statement's references, sorted; a remark for each that cannot
    be read. P143 (imported from Wikimedia project) is no evidence, and is left out."""
    found: set[str] = set()
    for reference in given if isinstance(given, list) else [given] if given else []:
        try:
            listed: list[tuple[Any, Any]] = [*(reference.get("snaks") or {}).items()]
        except MALFORMED:
            listed = [("", None)]
        for key, several in listed:
            try:
                if numbering.property(key) in (STATED_IN, REFERENCE_URL):
                    valued = [snak for snak in several if snak["snaktype"] == "value"]
                    found.update(_value(snak, numbering)[0] for snak in valued)
            except MALFORMED as error:
                reason = reason_of(error, "it is malformed")
                reading.remarks.append(f"reference is unreadable: {reason}")
    return tuple(sorted(found))
