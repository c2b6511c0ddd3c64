"""Edits of the parent release that the next release leaves out, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from discovery.facts.change import Change, DiffRule
from discovery.trust.subjects import Subjects
from infra.lm.matching import is_one_of
from pipeline.plan.edits import PlannedEdit, Removal

TAKEN_BACK = "the source took it back: "


def removals(
    live: Sequence[PlannedEdit],
    changes: Sequence[Change],
    subjects: Subjects,
    trusted: Callable[[Change], bool],
) -> list[Removal]:
    """Edits whose fact now has another value or none, even if the new value is not edited.

    An edit is removed at once if its source takes the fact back: the statement was removed,
    deprecated or ended, or has its old value again. If the source gives a new value, the edit stays
    until that value is trusted, for both rest on the same evidence.

    live      edits of the parent release
    subjects  the new snapshot's facts of these edits' subjects
    trusted   whether trust lets a change be acted on
    """
    moved: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        if change.kind in ("learn", "replace", "forget", "vacated"):
            moved.setdefault((change.subject, change.relation), []).append(change)
    found = []
    for edit in live:
        told = moved.get((edit.subject, edit.relation), ())
        reasons = (_superseded(edit, change, trusted) for change in told)
        reason = next(filter(None, reasons), None) or _taken_back(edit, subjects)
        if reason is not None:
            found.append(_removal(edit, reason))
    return found


def _superseded(edit: PlannedEdit, change: Change, trusted: Callable[[Change], bool]) -> str | None:
    """Why one change of its fact removes an edit, or None."""
    if change.new_value == edit.target_value:
        return None
    if change.kind in ("learn", "forget") and edit.target_value not in change.old_values:
        return None  # the change is about another value of a relation with several values
    if change.kind in ("forget", "vacated"):
        if change.rule == DiffRule.RETRACTED:
            return f"{TAKEN_BACK}{change.reason}{_by(edit.statement, change.revision_old)}"
        return f"superseded: {change.reason}"
    if is_one_of(change.new_label or "", edit.old_targets):
        by = _by(change.new_statement, change.revision_new)
        return f"{TAKEN_BACK}it is {change.new_label!r} again{by}"
    return f"superseded: {change.reason}" if trusted(change) else None


def _taken_back(edit: PlannedEdit, subjects: Subjects) -> str | None:
    """Why the snapshot itself removes an edit, even if the diff has no such change; or None."""
    if edit.source not in subjects.sources:
        return None  # the source is not read any more, so its silence means nothing
    why = subjects.taken_back(edit.subject, edit.relation, edit.target_value, edit.statement)
    return None if why is None else f"{TAKEN_BACK}{why}"


def _by(statement: str | None, revision: int | None) -> str:
    """Statement and revision in brackets, as far as they are known, to end a sentence with."""
    known = [f"statement {statement}"] if statement else []
    known += [f"revision {revision}"] if revision is not None else []
    return f" ({', '.join(known)})" if known else ""


def _removal(edit: PlannedEdit, reason: str) -> Removal:
    return Removal(
        id=edit.id,
        subject=edit.subject,
        subject_label=edit.subject_label,
        relation=edit.relation,
        prompt=edit.prompt,
        target=edit.target,
        reason=reason,
    )
