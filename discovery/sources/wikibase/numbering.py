"""The properties that decide how a statement is read, on Wikidata and on Wikibases that number them
otherwise.

All other code knows Wikidata's ids. A Wikibase of one's own numbers its properties itself, so its
settings name those that have a meaning for us, and its facts are renamed as they are read: a named
property gets Wikidata's id, and any other gets the prefix `own:`, because the same number means
something else on Wikidata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from discovery.facts.fact import Entity

ITEM_ID, PROPERTY_ID = re.compile(r"Q[1-9]\d{0,14}"), re.compile(r"P[1-9]\d{0,14}")
START, END, POINT = "P580", "P582", "P585"
INSTANCE_OF, HUMAN = "P31", "Q5"
STATED_IN, REFERENCE_URL = "P248", "P854"
OWN = "own:"
"""Prefix of the properties of a Wikibase that its settings do not name."""
_CONCEPT = re.compile(r"https?://www\.wikidata\.org/entity/(P[1-9]\d{0,14})")
"""Id of a property in a Wikibase that uses Wikidata's properties (*federated properties*)."""
_ROLES = MappingProxyType(
    {
        "start": START,
        "end": END,
        "point": POINT,
        "instance_of": INSTANCE_OF,
        "stated_in": STATED_IN,
        "reference_url": REFERENCE_URL,
        "birth": "P569",
        "death": "P570",
        "burial": "P4602",
        "inception": "P571",
        "discovery": "P575",
        "publication": "P577",
        "first_performance": "P1191",
        "opening": "P1619",
    }
)
"""Setting of one property -> Wikidata's id."""
_GROUPS = MappingProxyType({"restrictive": "P518", "contested": "P1310"})
"""Setting of several properties -> Wikidata's id of one of them, which all stand for."""

_LABELS = MappingProxyType(
    {
        START: ("start time", "start date"),
        END: ("end time", "end date"),
        POINT: ("point in time", "date"),
        INSTANCE_OF: ("instance of", "is a"),
    }
)
"""Wikidata's property -> its English label, and the one that it had before."""

_Property = Annotated[str, Field(pattern=r"^(P[1-9]\d{0,14})?$")]
"""A property id, or an empty text for a property that the Wikibase does not have."""


class PropertyNames(BaseModel):
    """The properties and the class of a Wikibase that are known under other ids on Wikidata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: _Property
    """When a statement began to hold (Wikidata's P580)."""
    end: _Property
    """When it ceased to hold (P582)."""
    point: _Property
    """A day on which it held (P585)."""
    instance_of: _Property
    """The class of an item (P31)."""
    stated_in: _Property
    """The work in which a statement is found (P248)."""
    reference_url: _Property
    """The page on which a statement is found (P854)."""
    restrictive: tuple[_Property, ...]
    """Qualifiers that restrict a statement to a part, place or time, as P518, P1001 and P3005."""
    contested: tuple[_Property, ...]
    """Qualifiers that contest a statement, as P1310 and P5102."""
    birth: _Property
    """Date of birth (P569)."""
    death: _Property
    """Date of death (P570)."""
    burial: _Property
    """Date of burial (P4602)."""
    inception: _Property
    """Date of foundation (P571)."""
    discovery: _Property
    """Time of discovery or invention (P575)."""
    publication: _Property
    """Date of publication (P577)."""
    first_performance: _Property
    """Date of the first performance (P1191)."""
    opening: _Property
    """Date of the official opening (P1619)."""
    human: Annotated[str, Field(pattern=r"^(Q[1-9]\d{0,14})?$")]
    """The item that is the class of human beings (Q5)."""
    relations: Mapping[_Property, _Property] = Field(default_factory=dict)
    """Further properties -> Wikidata's of the same meaning, whose templates they then use."""

    @model_validator(mode="before")
    @classmethod
    def _all_named(cls, raw: Any) -> Any:
        """Names what is missing in one line."""
        if isinstance(raw, Mapping) and (missing := [name for name in ROLES if name not in raw]):
            raise ValueError(f"not named: {', '.join(missing)}. {ADVICE}")
        return raw

    @model_validator(mode="after")
    def _named_once(self) -> PropertyNames:
        named = [name for name in self._pairs if name[0]]
        twice = sorted({a for n, (a, _) in enumerate(named) if a in dict(named[:n])})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named twice; a property has one meaning")
        return self

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        """Id on the Wikibase and id on Wikidata, of everything that is named."""
        return [
            *((getattr(self, role), key) for role, key in _ROLES.items()),
            *((own, key) for role, key in _GROUPS.items() for own in getattr(self, role)),
            *self.relations.items(),
        ]

    @property
    def numbering(self) -> Numbering:
        """How ids of this Wikibase are read."""
        return Numbering(dict(self._pairs), self.human)


ROLES = tuple(name for name in PropertyNames.model_fields if name != "relations")
"""Everything that a Wikibase of one's own has to name."""
ADVICE = (
    'Give the id of each in [sources.properties], as start = "P8", and "" (or [] for restrictive '
    "and contested) for what this Wikibase does not have"
)
Properties = Annotated[
    Annotated[Literal["wikidata"], Tag("text")] | Annotated[PropertyNames, Tag("table")],
    Discriminator(lambda given: "text" if isinstance(given, str) else "table"),
]
"""A setting: the properties of a Wikibase of one's own, or `wikidata` for a copy of Wikidata."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """Renames the ids of a Wikibase of one's own; renames nothing where `human` is None."""

    known: Mapping[str, str] = field(default_factory=dict)
    """Property of the Wikibase -> Wikidata's of the same meaning."""
    human: str | None = None
    """The class of human beings on the Wikibase; empty where it has none, None on Wikidata."""

    def property(self, key: Any) -> str:
        """The id by which a property is known in facts. Raises ValueError for what is no id."""
        if not is_property(key):
            raise ValueError(f"{key!r} is no property id")
        if match := _CONCEPT.fullmatch(key):
            return match[1]
        return key if self.human is None else self.known.get(key, OWN + key)

    def entity(self, key: str) -> str:
        """The id by which an item or property is known in facts: of items, their own."""
        return self.property(key) if key.startswith("P") else key

    def item_class(self, key: str) -> str:
        """The id by which the class of an item is known."""
        if self.human is None or key not in (HUMAN, self.human):
            return key
        return HUMAN if key == self.human else OWN + key


def is_property(key: Any) -> bool:
    """Whether a key of Wikibase's JSON is the id of a property."""
    return isinstance(key, str) and bool(PROPERTY_ID.fullmatch(key) or _CONCEPT.fullmatch(key))


WIKIDATA = Numbering()
"""Wikidata's own numbering."""


def strange_property(entity: Entity) -> bool:
    """Whether an entity is a property that has another meaning on Wikidata, by its English name."""
    names = {name.casefold() for name in (entity.label or "", *entity.aliases)}
    expected = _LABELS.get(entity.id)
    return entity.label is not None and expected is not None and names.isdisjoint(expected)


def unnamed(what: str) -> str:
    """The reason for refusing a Wikibase, as one line.

    what  the Wikibase, and how it is known that it is not Wikidata
    """
    return (
        f"{what}, and numbers its properties itself: [sources.properties] must name "
        f'{", ".join(ROLES)}. {ADVICE}; give `properties = "wikidata"` for a copy of Wikidata'
    )


def numbering_of(properties: PropertyNames | Literal["wikidata"] | None) -> Numbering:
    """The numbering that a setting asks for; Wikidata's where it is unset."""
    return properties.numbering if isinstance(properties, PropertyNames) else WIKIDATA
