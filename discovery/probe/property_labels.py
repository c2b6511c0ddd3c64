"""The labels that a source itself gives its relations.

They check our list of relations, and name relations that the list does not have. A snapshot
contains them where the source gives its properties as entities.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from discovery.facts.fact import Entity
from discovery.relations.relation import Relation, fallback_relation
from discovery.snapshot.output import Snapshot
from infra.errors import ConfigError
from infra.lm.normal_form import normalise


def properties(snapshot: Snapshot, wanted: Collection[str]) -> dict[str, Entity]:
    """Relation id -> its entity in the snapshot, for those of the wanted relations that have a
    label there."""
    found = snapshot.entities(wanted)
    return {entity.id: entity for entity in found if entity.label is not None}


def check_labels(relations: Mapping[str, Relation], named: Mapping[str, Entity]) -> None:
    """Check that each relation means what our templates say, by comparing its labels.

    Our label may also be one of the source's aliases, because sources rename properties now and
    then. Raises ConfigError for a relation that the source calls something else.
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
    """The relations, with an entry added for each that only the source names.

    An added relation has templates made from the source's label. It counts as multi-valued, because
    the source does not say how many objects it takes at a time.
    """
    made = {
        key: fallback_relation(key, entity.label)
        for key, entity in sorted(named.items())
        if entity.label and any(c.isalpha() for c in entity.label)
    }
    return {**made, **relations}
