"""What follows from a change by an inverse or a symmetric relation, and is stated nowhere. Pure.

Ann's spouse is Ben: then Ben's spouse is Ann, though nobody says so yet. Such a change is told
beside the one that it follows from, so that a person sees it; it has no statement of its own to be
trusted, retracted or kept current by, so that it is never acted on alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from discovery.facts.change import DERIVED, Change
from discovery.facts.current_view import Functional
from discovery.facts.fact import Entity
from infra.files.digest import digest_of

FIRST = "first"
"""Rule of what is current in a first snapshot, where nothing has changed yet."""


def derivable(change: Change, inverses: Mapping[str, str]) -> bool:
    """Whether something may follow from a change."""
    return (
        change.kind in ("learn", "replace")
        and change.rule != FIRST
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
    """What follows from some changes.

    inverses  by relation, the one that says the same from the object's side
    current   what holds now of a subject and a relation, by value; where one object is expected and
              the source names another, nothing follows
    """
    found = []
    for change in changes:
        if not derivable(change, inverses):
            continue
        subject, relation = str(change.new_value), inverses[change.relation]
        said = current(subject, relation)
        if change.subject in said or (relation in functional and said):
            continue
        entity, named = names.get(subject), names.get(change.subject)
        found.append(
            replace(
                change,
                id=digest_of([change.id, DERIVED])[:16],
                kind="learn",
                rule=DERIVED,
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
