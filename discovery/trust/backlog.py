"""Changes that wait: what an edition does not act on yet, and the next one takes up again.

A diff tells a change once, for the next one starts from a later snapshot. What was cooling, held,
over a budget, scheduled or undecided is kept with its reasons, and put to the next edition beside
its own changes, unless the source has moved on. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import pyarrow as pa

from discovery.facts.change import CHANGE_SCHEMA, Change
from discovery.facts.fact import Fact
from discovery.facts.tables import from_table
from discovery.trust.assessment import Finding, lasts
from discovery.trust.subjects import Subjects
from infra.files.digest import digest_of

SCHEDULED, UNDECIDED, DISPUTED = "7", "10", "2"
"""Rules of the diff whose changes may become ripe without the source doing anything."""
MOVING = frozenset({"learn", "replace", "forget", "vacated", "conflict"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldChange:
    """A change that is not acted on yet."""

    change: Change
    state: str
    """cooling, held, eligible (over a budget), scheduled or undecided."""
    rules: tuple[str, ...]
    """What holds it."""
    reasons: tuple[str, ...]
    route: str
    """`fact sheet` where retrieval serves it while it waits, else `none`."""
    verdict: str | None = None
    since: str
    """Version that first held it."""


HELD_SCHEMA = pa.schema(
    [
        *CHANGE_SCHEMA,
        pa.field("state", pa.string(), nullable=False),
        ("rules", pa.list_(pa.string())),
        ("reasons", pa.list_(pa.string())),
        ("route", pa.string()),
        ("verdict", pa.string()),
        pa.field("since_version", pa.string(), nullable=False),
    ]
)


def held_table(rows: Iterable[HeldChange]) -> pa.Table:
    """A row a change: the change's columns, then why it waits."""
    return pa.Table.from_pylist(
        [
            {
                **asdict(h.change),
                "state": h.state,
                "rules": list(h.rules),
                "reasons": list(h.reasons),
                "route": h.route,
                "verdict": h.verdict,
                "since_version": h.since,
            }
            for h in rows
        ],
        schema=HELD_SCHEMA,
    )


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
    """The changes of an edition with those taken up."""

    changes: list[Change]
    """In the order of the diff; those taken up lie among their like."""
    since: dict[str, str] = field(default_factory=dict)
    """Of those taken up, by id, the version that first held them."""
    lasting: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    """Of those taken up, by id, findings that stand until they are lifted."""
    dropped: list[HeldChange] = field(default_factory=list)
    """What was held and is no longer, with the reason as its last."""


def carry_over(
    held: Sequence[HeldChange], changes: Sequence[Change], subjects: Subjects
) -> CarriedOver:
    """Take up what is held, unless the newer diff has something of its own for it.

    subjects  the new snapshot's facts of the subjects held: what it no longer says is dropped

    A `keep` that altered the evidence (rules 4 and 5) gives the change its new revision and
    references, so that its cool-down begins again; a `keep` of a fact taken up is no row of its
    own.
    """
    groups: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        groups.setdefault((change.subject, change.relation), []).append(change)
    known = {change.id for change in changes}
    taken: dict[str, Change] = {}
    since, lasting = {}, {}
    replaced: set[str] = set()
    dropped: list[HeldChange] = []
    for h in held:
        group = groups.get((h.change.subject, h.change.relation), [])
        outcome = _outcome(h, group, subjects)
        if isinstance(outcome, str) or outcome.id in known or outcome.id in taken:
            why = outcome if isinstance(outcome, str) else "this edition has the same change"
            dropped.append(replace(h, state="dropped", reasons=(*h.reasons, why)))
            continue
        taken[outcome.id], since[outcome.id] = outcome, h.since
        same = h.change.revision_new == outcome.revision_new
        lasting[outcome.id] = tuple(
            Finding("held", rule, reason)
            for rule, reason in zip(h.rules, h.reasons, strict=True)
            if h.state == "held" and lasts(rule, same_revision=same)
        )
        replaced |= {c.id for c in group if c.kind == "keep" and c.new_value == outcome.new_value}
        replaced |= {c.id for c in group if _same_conflict(h.change, c)}
    merged = [c for c in changes if c.id not in replaced] + list(taken.values())
    merged.sort(key=lambda c: (c.subject, c.relation, c.kind, c.id))
    return CarriedOver(merged, since, lasting, dropped)


def _outcome(h: HeldChange, group: Sequence[Change], subjects: Subjects) -> Change | str:
    """The change as it is taken up, or why it is not."""
    change = h.change
    current = subjects.current(change.subject, change.relation)
    functional = change.relation in subjects.functional
    for newer in group:
        if _supersedes(newer, change, functional):
            return f"the source has moved on: {newer.reason}"
    if change.kind == "conflict" and change.new_value is None:
        return _disputed(change, current, h.since)
    if change.rule == SCHEDULED and change.kind == "ignored":
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
        c.kind == "keep" and c.rule in ("4", "5") and c.new_value == fact.value for c in group
    )
    if change.kind == "ignored":
        return _ripe(change, fact, h.since)
    return _with_evidence(change, fact) if altered else change


def _supersedes(newer: Change, change: Change, functional: bool) -> bool:
    """Whether a newer change says something else of the same fact."""
    if newer.kind == "keep" or _same_conflict(change, newer):
        return False
    touched = change.new_value in (newer.new_value, *newer.old_values)
    if newer.kind == "forget":
        return change.new_value in newer.old_values  # what else is no more is nothing against it
    if newer.kind in MOVING:
        return functional or touched
    if newer.kind == "ignored" and newer.rule in (SCHEDULED, UNDECIDED):
        return newer.new_value == change.new_value
    return newer.new_value != change.new_value and touched


def _same_conflict(change: Change, newer: Change) -> bool:
    """Whether the diff says no more than that a conflict stays the same."""
    return (
        change.kind == "conflict"
        and newer.kind == "ignored"
        and newer.rule == DISPUTED
        and sorted(newer.old_values) == sorted(change.old_values)
    )


def _disputed(change: Change, current: Mapping[str, Fact], since: str) -> Change | str:
    """A conflict of several values: still one, or decided for one of them."""
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
    return _named_again(_with_evidence(decided, current[value]), change)


def _ripe(change: Change, fact: Fact, since: str) -> Change:
    """A scheduled or undecided fact that now holds for certain."""
    reason = f"was open in {since} ({change.reason}); the source says now that it holds"
    kind = "replace" if change.old_values else "learn"
    return _named_again(_with_evidence(replace(change, kind=kind, reason=reason), fact), change)


def _named_again(change: Change, before: Change) -> Change:
    """A change that became another has another id."""
    return replace(change, id=digest_of([before.id, change.kind, change.new_value])[:16])


def _with_evidence(change: Change, fact: Fact) -> Change:
    """The change with the statement, revision and references that stand for it now."""
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
