"""What the source itself calls its relations: a check of our list, and names for what is not in it.

A snapshot has the labels of properties where the source gives them as entities.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from discovery.facts.fact import Entity
from discovery.relations.relation import Relation, fallback_relation
from discovery.snapshot.output import Snapshot
from infra.errors import ConfigError
from infra.lm.matching import normalise


def properties(snapshot: Snapshot, wanted: Collection[str]) -> dict[str, Entity]:
    """Those of the wanted relations that the snapshot names, by id."""
    found = snapshot.entities(wanted)
    return {entity.id: entity for entity in found if entity.label is not None}


def check_labels(relations: Mapping[str, Relation], named: Mapping[str, Entity]) -> None:
    """Refuse to go on where an id means something else than our templates say.

    A name that the source keeps as an alias is right: it renames properties now and then. Raises
    ConfigError with id, what was expected and what was found.
    """
    for key, entity in sorted(named.items()):
        if key not in relations:
            continue
        known = {normalise(name) for name in (entity.label or "", *entity.aliases)}
        if normalise(relations[key].label) not in known:
            raise ConfigError(
                f"relation {key} is called {entity.label!r} by {entity.source}, and "
                f"{relations[key].label!r} was expected. Give it its own entry in a relations file."
            )


def with_fallbacks(
    relations: Mapping[str, Relation], named: Mapping[str, Entity]
) -> dict[str, Relation]:
    """The relations, and those that only the source has a name for, said by that name.

    How many objects they take at a time nobody has said, so they are taken as multi-valued.
    """
    made = {
        key: fallback_relation(key, entity.label)
        for key, entity in sorted(named.items())
        if entity.label and any(c.isalpha() for c in entity.label)
    }
    return {**made, **relations}
