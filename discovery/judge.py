"""Facts of two snapshots -> changes, group by group, with names and evidence. Pure.

What happened is judged by `discovery.rules` on groups of facts, out of the current views of
`discovery.view`. A group is what one subject has of one relation, told apart by the qualifiers that
separate values of that relation. Before, entities that were merged into others are those others.

The window is (T_old, T_new], where T_old is the day of the subject's earlier revision if it has
one, for what happened after that day was not in the earlier snapshot; else the earlier snapshot's
day. Of several sources that have revisions of a subject, the one that was the least up to date
counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from discovery.dates import iso_interval, within
from discovery.evidence import INCEPTION, content, separators_of, time_of
from discovery.fact import Change, Entity, Fact
from discovery.rules import Decision, Group, decide
from discovery.verbalise import Relation
from infra.storage import digest_of

ORDER = ("subject", "relation", "kind", "id")
"""Columns that changes are sorted by."""


@dataclass(frozen=True)
class Semantics:
    """What the rules have to know of relations."""

    functional: frozenset[str] = frozenset()
    separators: Mapping[str, frozenset[str]] = field(default_factory=dict)
    inverse: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, relations: Mapping[str, Relation]) -> Semantics:
        """A relation that is not among them is taken as multi-valued."""
        return cls(
            frozenset(key for key, relation in relations.items() if relation.functional),
            {key: frozenset(r.separators) for key, r in relations.items() if r.separators},
            {key: r.inverse for key, r in relations.items() if r.inverse},
        )


def diff_facts(
    old: list[Fact] | None,
    new: list[Fact],
    *,
    old_day: int | None,
    new_day: int,
    functional: frozenset[str] = frozenset(),
    separators: Mapping[str, frozenset[str]] | None = None,
    entities: Mapping[str, Entity] | None = None,
) -> list[Change]:
    """The diff of two lists of facts, sorted. `old` None: there is no earlier snapshot.

    entities  names, and what was merged into what; rule 6 and all labels come from it
    """
    semantics = Semantics(functional, separators or {})
    known = {} if old is None or old_day is None else known_subjects(old, old_day)
    return judge(
        old, new, old_day=old_day, new_day=new_day, semantics=semantics, known=known,
        entities=entities or {},
    )  # fmt: skip


def judge(
    old: Iterable[Fact] | None,
    new: Iterable[Fact],
    *,
    old_day: int | None,
    new_day: int,
    semantics: Semantics,
    known: Mapping[str, int],
    entities: Mapping[str, Entity],
    keeps: frozenset[tuple[str, str]] | None = None,
) -> list[Change]:
    """`diff_facts` of whole groups of some subjects.

    known  the subjects of the earlier snapshot, and the day up to which it knew each
    keeps  the (subject, relation) whose facts are reported though they hold as before; None is all
    """
    targets = {key: e.redirect for key, e in entities.items() if e.redirect}
    seen: dict[str, int] = {}
    for key, day in known.items():
        subject = _end(targets, key)
        seen[subject] = min(day, seen.get(subject, day))
    before = _grouped(_resolved(old or (), targets), semantics)
    after = _grouped(_resolved(new, targets), semantics)
    born = set() if old_day is None else _born(after, seen, old_day, new_day)
    changes: dict[str, Change] = {}
    for key in sorted(before.keys() | after.keys()):
        subject, relation, separators = key
        group = Group(
            relation=relation,
            old=tuple(before.get(key, ())),
            new=tuple(after.get(key, ())),
            old_day=None if old_day is None else seen.get(subject, old_day),
            new_day=new_day,
            functional=relation in semantics.functional,
            born=subject in born,
            label=lambda name: entities[name].label if name in entities else None,
        )
        for decision in decide(group):
            if keeps is not None and (subject, relation) not in keeps and _same(decision, group):
                continue
            change = _change(subject, relation, separators, decision, entities)
            changes[change.id] = change
    return sorted(changes.values(), key=lambda c: tuple(getattr(c, name) for name in ORDER))


def known_subjects(facts: Iterable[Fact], day: int) -> dict[str, int]:
    """The subjects of a snapshot of a day, and up to which day it knew each."""
    read: dict[str, dict[str, int]] = {}
    for fact in facts:
        revised = read.setdefault(fact.subject, {})
        if fact.revision_time:
            seen = iso_interval(fact.revision_time).earliest
            revised[fact.source] = max(seen, revised.get(fact.source, seen))
    return {subject: min([day, *revised.values()]) for subject, revised in read.items()}


def _same(decision: Decision, group: Group) -> bool:
    """Whether a decision says no more than that a statement holds as it did."""
    if (decision.kind, decision.rule) != ("keep", "21") or decision.new is None:
        return False
    return content(decision.new) in {content(fact) for fact in group.old}


def _resolved(facts: Iterable[Fact], targets: Mapping[str, str]) -> Iterable[Fact]:
    """Facts about and of what their subjects and values were merged into."""
    if not targets:
        return facts
    return [
        replace(
            fact,
            subject=_end(targets, fact.subject),
            value=_end(targets, fact.value) if fact.value_type == "entity" else fact.value,
        )
        if fact.subject in targets or fact.value in targets
        else fact
        for fact in facts
    ]


def _end(targets: Mapping[str, str], key: str) -> str:
    """The end of a chain of redirects; of a circle the place where it closes."""
    seen = {key}
    while key in targets and targets[key] not in seen:
        key = targets[key]
        seen.add(key)
    return key


def _grouped(
    facts: Iterable[Fact], semantics: Semantics
) -> dict[tuple[str, str, str], list[Fact]]:
    """Facts by group, in an order that does not depend on that of the input."""
    groups: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in sorted(facts, key=lambda f: (f.statement_id, f.source, f.value)):
        names = semantics.separators.get(fact.relation, frozenset())
        key = fact.subject, fact.relation, separators_of(fact, names)
        groups.setdefault(key, []).append(fact)
    return groups


def _born(
    groups: Mapping[tuple[str, str, str], list[Fact]],
    known: Mapping[str, int],
    old_day: int,
    new_day: int,
) -> set[str]:
    """Subjects that the earlier snapshot has not, and that came into being in the window."""
    born = set()
    for (subject, relation, _), facts in groups.items():
        if relation in INCEPTION and subject not in known:
            dates = [time_of(fact) for fact in facts if fact.rank != "deprecated"]
            if any(date and within(date, old_day, new_day) == "yes" for date in dates):
                born.add(subject)
    return born


def _change(
    subject: str,
    relation: str,
    separators: str,
    decision: Decision,
    names: Mapping[str, Entity],
) -> Change:
    """A decision with names and evidence."""
    old, new = decision.old, decision.new
    entity = names.get(subject)
    shown = new or old[0]
    named = names.get(new.value) if new and new.value_type == "entity" else None
    identity = [
        subject,
        relation,
        decision.kind,
        [[f.value, f.snaktype] for f in old],
        [new.value, new.snaktype] if new else None,
        []
        if decision.kind != "ignored"
        else [f.statement_id for f in (*old, *([new] if new else []))],
        *([separators] if separators else []),
    ]
    return Change(
        id=digest_of(identity)[:16],
        kind=decision.kind,
        rule=decision.rule,
        reason=decision.reason,
        subject=subject,
        subject_label=entity.label if entity else None,
        subject_aliases=entity.aliases if entity else (),
        popularity=entity.num_sitelinks if entity else 0,
        relation=relation,
        value_type=shown.value_type,
        old_values=tuple(f.value for f in old),
        old_labels=tuple(_label(f, names) or f.value for f in old),
        old_starts=tuple(f.start or f.point for f in old),
        old_ends=tuple(f.end for f in old),
        new_value=new.value if new else None,
        new_label=_label(new, names) if new else None,
        new_aliases=named.aliases if named else (),
        source=shown.source,
        old_statements=tuple(f.statement_id for f in old),
        new_statement=new.statement_id if new else None,
        revision_old=old[0].revision if old else None,
        revision_new=new.revision if new else None,
        revision_time=shown.revision_time,
        user=shown.user,
        since=(new.start or new.point) if new else None,
        references=new.references if new else (),
    )


def _label(fact: Fact, names: Mapping[str, Entity]) -> str | None:
    """How a value is said: an entity's label if it has one, a number without its plus, text as it
    is."""
    if fact.value_type == "entity":
        return names[fact.value].label if fact.value in names else None
    if fact.value_type == "quantity":
        return (
            None if " " in fact.value else fact.value.removeprefix("+")
        )  # the unit has no name here
    return fact.value or None
