"""Held changes: what an edition does not act on yet, and the next edition looks at again. Pure.

A diff has each change once, since the next diff starts from a later snapshot. A change that is
cooling, held, over a budget, scheduled or undecided is therefore kept with its reasons and added to
the changes of the next edition, unless its source has changed the fact meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from discovery.facts.change import ACTIVE_KINDS, CHANGE_SCHEMA, Change, DiffRule
from discovery.facts.fact import Fact
from discovery.facts.tables import from_table, to_table
from discovery.trust.rules import Finding, lasts
from discovery.trust.subjects import Subjects
from infra.files.digest import digest_of

AMENDMENTS = (DiffRule.METADATA_CHANGED, DiffRule.REFINED)
"""Rules of the diff by which a statement was amended while its value holds as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldChange:
    """A change that is not acted on yet, and why."""

    change: Change
    state: str
    """cooling, held, eligible (over a budget), scheduled, undecided, or dropped: no longer held."""
    rules: tuple[str, ...]
    """What it waits for: rules of trust (`discovery.trust.rules`), or of its route or plan."""
    reasons: tuple[str, ...]
    """A sentence for each rule."""
    route: str
    """`fact sheet` where retrieval serves the fact while it waits, else `none`."""
    verdict: str | None = None
    """The model's verdict, where it was asked."""
    since: str
    """Version of the edition that held it first."""


WHY_SCHEMA = pa.schema(
    [
        pa.field("state", pa.string(), nullable=False),
        ("rules", pa.list_(pa.string())),
        ("reasons", pa.list_(pa.string())),
        ("route", pa.string()),
        ("verdict", pa.string()),
        pa.field("since", pa.string(), nullable=False),
    ]
)
"""Why a change waits: the fields of `HeldChange` but the change."""
SINCE = "since_version"
"""Column of the last of them, since a change has a `since` of its own."""
HELD_SCHEMA = pa.schema(
    [*CHANGE_SCHEMA, *list(WHY_SCHEMA)[:-1], WHY_SCHEMA.field(-1).with_name(SINCE)]
)


def held_table(rows: Iterable[HeldChange]) -> pa.Table:
    """Held changes as a table of `HELD_SCHEMA`: the columns of the change, then why it waits."""
    held = list(rows)
    changes = to_table([h.change for h in held], CHANGE_SCHEMA)
    why = to_table(held, WHY_SCHEMA)
    return pa.Table.from_arrays([*changes.columns, *why.columns], schema=HELD_SCHEMA)


def read_held(table: pa.Table) -> list[HeldChange]:
    """The inverse of `held_table`."""
    changes = from_table(table.select(CHANGE_SCHEMA.names), Change)
    others = table.drop_columns(CHANGE_SCHEMA.names).to_pylist()
    return [
        HeldChange(
            change=change,
            state=row["state"],
            rules=tuple(row["rules"]),
            reasons=tuple(row["reasons"]),
            route=row["route"],
            verdict=row["verdict"],
            since=row["since_version"],
        )
        for change, row in zip(changes, others, strict=True)
    ]


@dataclass(frozen=True)
class CarriedOver:
    """The changes of an edition together with those carried over from earlier editions."""

    changes: list[Change]
    """Both, in the order of a diff."""
    since: dict[str, str] = field(default_factory=dict)
    """By id of a change carried over, the version of the edition that held it first."""
    lasting: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    """By id of a change carried over, findings of the earlier edition that still count."""
    dropped: list[HeldChange] = field(default_factory=list)
    """Changes that were held and are not carried over; the last of their reasons says why."""


def carry_over(
    held: Iterable[HeldChange], changes: Sequence[Change], subjects: Subjects
) -> CarriedOver:
    """Add the held changes to those of a diff, except where the diff makes them out of date.

    subjects  the later snapshot's facts of the subjects held: a change whose fact it no longer
              states is dropped

    Where the statement was edited without another value (`DiffRule.METADATA_CHANGED` or `REFINED`),
    the change gets its new revision and references, so that its cool-down starts again. The `keep`
    of a fact whose change is carried over is left out.
    """
    groups: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        groups.setdefault((change.subject, change.relation), []).append(change)
    known = {change.id for change in changes}
    carried: dict[str, Change] = {}
    since, lasting = {}, {}
    replaced: set[str] = set()
    dropped: list[HeldChange] = []
    for h in held:
        group = groups.get((h.change.subject, h.change.relation), [])
        outcome = _outcome(h, group, subjects)
        if isinstance(outcome, str) or outcome.id in known or outcome.id in carried:
            why = outcome if isinstance(outcome, str) else "this edition has the same change"
            dropped.append(replace(h, state="dropped", reasons=(*h.reasons, why)))
            continue
        carried[outcome.id], since[outcome.id] = outcome, h.since
        same = h.change.revision_new == outcome.revision_new
        lasting[outcome.id] = tuple(
            Finding("held", rule, reason)
            for rule, reason in zip(h.rules, h.reasons, strict=True)
            if h.state == "held" and lasts(rule, same_revision=same)
        )
        replaced |= {c.id for c in group if c.kind == "keep" and c.new_value == outcome.new_value}
        replaced |= {c.id for c in group if _same_conflict(h.change, c)}
    both = [c for c in changes if c.id not in replaced] + list(carried.values())
    both.sort(key=lambda c: (c.subject, c.relation, c.kind, c.id))
    return CarriedOver(both, since, lasting, dropped)


def _outcome(h: HeldChange, group: Sequence[Change], subjects: Subjects) -> Change | str:
    """The change as it is carried over, or the reason why it is not."""
    change = h.change
    if subjects.undecided(change.subject, change.relation):
        return change
    current = subjects.current(change.subject, change.relation)
    functional = change.relation in subjects.functional
    for newer in group:
        if _supersedes(newer, change, functional):
            return f"the source has moved on: {newer.reason}"
    if change.kind == "conflict" and change.new_value is None:
        return _disputed(change, current, h.since)
    if change.rule == DiffRule.SCHEDULED and change.kind == "ignored":
        stated = any(
            fact.value == change.new_value and fact.rank != "deprecated"
            for fact in subjects.facts.get((change.subject, change.relation), ())
        )
        if not stated:
            return "the source no longer says so"
        if change.new_value not in current:
            return change
    if change.new_value is None or change.new_value not in current:
        return "the source no longer says so"
    if functional and len(current) > 1:
        return "several values hold at once where one is expected"
    fact = current[change.new_value]
    altered = any(
        c.kind == "keep" and c.rule in AMENDMENTS and c.new_value == fact.value for c in group
    )
    if change.kind == "ignored":
        return _ripe(change, fact, h.since)
    return _with_evidence(change, fact) if altered else change


def _supersedes(newer: Change, change: Change, functional: bool) -> bool:
    """Whether a newer change decides the fact of a held one otherwise."""
    if newer.kind == "keep" or _same_conflict(change, newer):
        return False
    touched = change.new_value in (newer.new_value, *newer.old_values)
    if newer.kind == "forget":
        return change.new_value in newer.old_values  # that another value ended does not matter
    if newer.kind in ACTIVE_KINDS:
        return functional or touched
    if newer.kind == "ignored" and newer.rule in (DiffRule.SCHEDULED, DiffRule.UNDECIDED):
        return newer.new_value == change.new_value
    return newer.new_value != change.new_value and touched


def _same_conflict(change: Change, newer: Change) -> bool:
    """Whether a newer change says that a held conflict goes on with the same values."""
    return (
        change.kind == "conflict"
        and newer.kind == "ignored"
        and newer.rule == DiffRule.SEVERAL_VALUES
        and sorted(newer.old_values) == sorted(change.old_values)
    )


def _disputed(change: Change, current: Mapping[str, Fact], since: str) -> Change | str:
    """A held conflict of several values: as it is while they are current, or a `learn` of the one
    that is left; or the reason why it is dropped."""
    if len(current) > 1:
        same = sorted(current) == sorted(change.old_values)
        return change if same else "the source has moved on: other values are in conflict"
    value = next(iter(current), None)
    if value is None or value not in change.old_values:
        return "the source no longer says so"
    place = change.old_values.index(value)
    others = [n for n in range(len(change.old_values)) if n != place]

    def rest(column: tuple) -> tuple:
        return tuple(column[n] for n in others) if column else ()

    decided = replace(
        change,
        kind="learn",
        reason=f"several values held at once in {since}; one of them is left",
        new_value=value,
        new_label=change.old_labels[place],
        old_values=rest(change.old_values),
        old_labels=rest(change.old_labels),
        old_starts=rest(change.old_starts),
        old_ends=rest(change.old_ends),
        old_statements=rest(change.old_statements),
    )
    return _with_new_id(_with_evidence(decided, current[value]), change)


def _ripe(change: Change, fact: Fact, since: str) -> Change:
    """The `learn` or `replace` of a scheduled or undecided fact that now holds for certain."""
    reason = f"was open in {since} ({change.reason}); the source says now that it holds"
    kind = "replace" if change.old_values else "learn"
    return _with_new_id(_with_evidence(replace(change, kind=kind, reason=reason), fact), change)


def _with_new_id(change: Change, before: Change) -> Change:
    """A change whose kind or value is another than before, with an id of its own."""
    return replace(change, id=digest_of([before.id, change.kind, change.new_value])[:16])


def _with_evidence(change: Change, fact: Fact) -> Change:
    """The change with the statement, revision and references that the source gives now."""
    return replace(
        change,
        source=fact.source,
        value_type=fact.value_type,
        new_statement=fact.statement_id,
        revision_new=fact.revision,
        revision_time=fact.revision_time,
        user=fact.user,
        references=fact.references,
        quote=fact.quote,
        since=fact.start or fact.point,
    )
