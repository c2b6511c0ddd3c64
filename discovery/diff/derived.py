"""Changes that follow from others by an inverse or a symmetric relation. Pure.

Where Ann's spouse is now Ben, Ben's spouse is Ann, even before a source states it. Such a derived
change is listed beside the one that it follows from, so that a person sees it. It has no statement
of its own by which it could be trusted or retracted, so it is never acted on alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from discovery.facts.change import Change, DiffRule
from discovery.facts.current_view import Functional
from discovery.facts.fact import Entity
from infra.files.digest import digest_of


def derivable(change: Change, inverses: Mapping[str, str]) -> bool:
    """Whether a change may have a derived change: it adds an entity as the value of a relation that
    has an inverse."""
    return (
        change.kind in ("learn", "replace")
        and change.rule != DiffRule.FIRST_SNAPSHOT
        and change.value_type == "entity"
        and change.relation in inverses
        and not change.scope
    )


def derived(
    changes: Iterable[Change],
    inverses: Mapping[str, str],
    functional: Functional,
    current: Callable[[str, str], Mapping[str, object]],
    names: Mapping[str, Entity],
) -> list[Change]:
    """The derived changes of some changes, in their order.

    inverses    by relation, the one that states the same from the object's side
    functional  relations of at most one value at a time
    current     gives the current values of a subject and relation. Where it has the derived value
                already, or another one of a functional relation, no change is derived
    names       by entity id, labels and aliases
    """
    found = []
    for change in changes:
        if not derivable(change, inverses):
            continue
        subject, relation = str(change.new_value), inverses[change.relation]
        values = current(subject, relation)
        if change.subject in values or (relation in functional and values):
            continue
        entity, named = names.get(subject), names.get(change.subject)
        found.append(
            replace(
                change,
                id=digest_of([change.id, DiffRule.DERIVED])[:16],
                kind="learn",
                rule=DiffRule.DERIVED,
                reason=f"follows from change {change.id} ({change.subject} {change.relation})",
                subject=subject,
                subject_label=change.new_label,
                subject_aliases=change.new_aliases,
                popularity=entity.num_sitelinks if entity else 0,
                relation=relation,
                old_values=(),
                old_labels=(),
                old_starts=(),
                old_ends=(),
                old_statements=(),
                new_value=change.subject,
                new_label=change.subject_label,
                new_aliases=named.aliases if named else (),
            )
        )
    return found
