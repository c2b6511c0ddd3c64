"""Read the value of a snak in Wikibase's JSON as canonical text with a type."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from discovery.facts.dates import FAR_PAST, iso_interval, to_iso, wikibase_interval
from discovery.facts.fact import Interval, ValueType

ENTITY_ID = re.compile(r"[QPL][1-9]\d{0,14}")
MAX_VALUE, MAX_DIGITS = 10_000, 1_000
"""Characters of a value and digits of a quantity, at most; Wikibase allows 2,500 and 127."""

FAULT = "fault"
"""Key of a snak that has no value because the reader of another format could not read it; under it
is the reason."""
_STRUCTURED = ("monolingualtext", "globecoordinate")
"""Value types that are maps and have no plain text."""
_PREFIX = {"item": "Q", "property": "P", "lexeme": "L"}
compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""The canonical JSON text of a value."""


def read_date(snaks: list[Any], modified: str | None) -> tuple[Interval | None, list[str]]:
    """The first date in the snaks of a qualifier, and remarks on it.

    `somevalue` means any day up to `modified`, the time of the revision; `novalue` means no date.
    Raises ValueError, KeyError, TypeError or AttributeError where one of the snaks is unreadable.
    """
    found: list[tuple[Interval, list[str]]] = []
    for snak in snaks:
        if snak["snaktype"] == "somevalue":
            latest = iso_interval(modified).latest if modified else -FAR_PAST
            found.append((Interval(FAR_PAST, latest, 0), []))
        elif snak["snaktype"] == "value":
            value, kind = _data(snak)
            if kind != "time":
                raise ValueError("date is of a type other than time")
            interval, remark = wikibase_interval(value)
            found.append((interval, [remark] if remark else []))
        elif snak["snaktype"] != "novalue":
            raise ValueError(f"snaktype {snak['snaktype']!r} is unknown")
    return found[0] if found else (None, [])


def type_of(snak: Mapping[str, Any]) -> ValueType:
    """The type of a snak by its property's datatype, for snaks without a value."""
    types: dict[str, ValueType] = {
        "wikibase-item": "entity",
        "wikibase-property": "entity",
        "string": "string",
        "quantity": "quantity",
        "time": "time",
    }
    return types.get(snak.get("datatype", ""), "other")


def read_value(snak: Mapping[str, Any]) -> tuple[str, ValueType]:
    """Canonical text and type of a snak's value. Raises ValueError with the reason."""
    text, value_type = _plain_value(snak)
    if len(text) > MAX_VALUE:
        raise ValueError(f"value is longer than {MAX_VALUE} characters")
    return text, value_type


def _plain_value(snak: Mapping[str, Any]) -> tuple[str, ValueType]:
    """`read_value` without the limit of length."""
    value, kind = _data(snak)
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
        amount = _decimal(value["amount"])
        unit = value.get("unit", "1").rpartition("/")[2]
        return f"{amount:+f}" + (f" {unit}" if unit != "1" else ""), "quantity"
    if kind == "time":
        interval, _ = wikibase_interval(value)
        return to_iso(interval), "time"
    if kind in _STRUCTURED and isinstance(value, dict):
        return compact(value), "other"
    raise ValueError("value is of a type that is not read")


def _data(snak: Mapping[str, Any]) -> tuple[Any, Any]:
    """Value and value type of a snak. Raises ValueError or TypeError where it has none."""
    if FAULT in snak:
        raise ValueError(snak[FAULT])
    data = snak.get("datavalue")
    if data is None:
        raise ValueError("value is missing")
    if data.get("type") == "bad":
        raise ValueError("value is marked as bad by the Wikibase itself")
    return data["value"], data["type"]


def read_bounds(snak: Mapping[str, Any]) -> str | None:
    """The bounds of a quantity as `LOW..HIGH`, None without them. Sources may have them swapped."""
    value = snak["datavalue"]["value"]
    given = [value.get(name) for name in ("lowerBound", "upperBound")]
    if None in given:
        return None
    low, high = sorted(_decimal(text) for text in given)
    return f"{low:+f}..{high:+f}"


def _decimal(text: Any) -> Decimal:
    """The number in a quantity's text. Raises ValueError with the reason."""
    try:
        amount = Decimal(str(text))
    except InvalidOperation:
        raise ValueError("amount of a quantity is not a decimal number") from None
    if not amount.is_finite() or abs(amount.adjusted()) > MAX_DIGITS:
        raise ValueError("amount of a quantity has too many digits")
    return amount


def as_text(snak: Mapping[str, Any]) -> str:
    """A qualifier's value as canonical text, or its snaktype."""
    return snak["snaktype"] if snak["snaktype"] != "value" else read_value(snak)[0]
