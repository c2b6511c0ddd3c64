"""Two lists of facts -> the changes between them, each with labels and evidence. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from discovery.diff.fact_group import FactGroup
from discovery.diff.rules import Decision, decide, unreadable
from discovery.facts.change import Change
from discovery.facts.current_view import Functional, scoped
from discovery.facts.dates import iso_interval, within
from discovery.facts.fact import EVERY_RELATION, Entity, Fact
from discovery.facts.refinement import time_of
from discovery.facts.words import quantity_in_words, time_in_words, unit_of
from infra.files.digest import digest_of

ORDER = ("subject", "relation", "kind", "id")
"""Fields by which changes are sorted."""


def diff_facts(
    old: list[Fact] | None,
    new: list[Fact],
    *,
    old_day: int | None,
    new_day: int,
    functional: Functional = MappingProxyType({}),
    entities: Mapping[str, Entity] | None = None,
    since: Mapping[str, int] | None = None,
    known: Collection[str] | None = None,
) -> list[Change]:
    """The changes between two lists of facts, sorted by `ORDER`.

    old         facts of the earlier snapshot, None where there is none
    old_day     its day, in days since 1970-01-01; None where there is none
    new_day     day of the later snapshot
    functional  relations of at most one value at a time, with their separators
    entities    by id, labels of subjects and values; `DiffRule.SAME_LABEL` compares them
    since       by subject, the first day of its window less one; unset: `window_begins(old)`
    known       subjects that the earlier snapshot has; unset: those of `old`
    """
    names = entities or {}
    keys = sorted({(f.subject, f.relation) for f in (*(old or ()), *new)})
    before, after = grouped(old or []), grouped(new)
    begun = since if since is not None else window_begins(old or (), old_day)
    known = {f.subject for f in old or ()} if known is None else known
    new_subjects = set() if old_day is None else _new_subjects(new, known, old_day, new_day)
    changes = []
    for subject, relation in keys:
        separators = functional.get(relation, ())
        told = dict.fromkeys([(subject, relation), (subject, EVERY_RELATION)])
        earlier, later = (
            [fact for key in told for fact in side.get(key, ())] for side in (before, after)
        )
        if undecided := unreadable(later, separators):
            changes += [_change(subject, relation, "", d, names) for d in undecided]
            continue
        read_before = last_read(earlier, old_day)
        window = begun.get(subject, old_day) if old_day is not None else None
        olds = scoped([f for f in earlier if f.snaktype != "unreadable"], separators)
        news = scoped(later, separators)
        scopes = sorted({*olds, *news})
        for scope in scopes:
            group = FactGroup(
                relation=relation,
                old=tuple(olds.get(scope, ())),
                new=tuple(news.get(scope, ())),
                old_day=read_before,
                since=None if read_before is None or window is None else min(window, read_before),
                new_day=new_day,
                functional=relation in functional,
                new_subject=subject in new_subjects,
                label=lambda key: names[key].label if key in names else None,
            )
            shown = scope if len(scopes) > 1 or scope != "[]" else ""
            changes += [_change(subject, relation, shown, d, names) for d in decide(group)]
    return sorted(changes, key=lambda c: tuple(getattr(c, name) for name in ORDER))


def last_read(earlier: Sequence[Fact], old_day: int | None) -> int | None:
    """The day on which a group of the earlier snapshot could be read last: that snapshot's, or,
    where a part of the group is unreadable there, an earlier one or None for never.

    earlier  the group's facts in the earlier snapshot
    old_day  its day, in days since 1970-01-01; None where there is none
    """
    points = [f.point for f in earlier if f.snaktype == "unreadable"]
    if old_day is None or not points:
        return old_day
    if all(f.snaktype == "unreadable" for f in earlier):
        return None
    return min((point.earliest for point in points if point is not None), default=old_day)


BEGINNINGS = frozenset({"P569", "P571", "P575", "P577", "P1191", "P1619"})
"""Relations that date the beginning of a subject: birth, inception, discovery, publication, first
performance, opening."""


def _new_subjects(new: list[Fact], known: Collection[str], old_day: int, new_day: int) -> set[str]:
    """Subjects that the earlier snapshot does not have, and that began after it."""
    found = set()
    for fact in new:
        if fact.relation in BEGINNINGS and fact.subject not in known and fact.rank != "deprecated":
            began = time_of(fact)
            if began is not None and within(began, old_day, new_day) == "yes":
                found.add(fact.subject)
    return found


def grouped(facts: list[Fact]) -> dict[tuple[str, str], list[Fact]]:
    """Facts by (subject, relation); the order in a group does not depend on that of the input."""
    groups: dict[tuple[str, str], list[Fact]] = {}
    for fact in sorted(facts, key=lambda f: (f.statement_id, f.source, f.value)):
        groups.setdefault((fact.subject, fact.relation), []).append(fact)
    return groups


def _change(
    subject: str, relation: str, scope: str, decision: Decision, names: Mapping[str, Entity]
) -> Change:
    """The change that a decision describes, with the labels and evidence of its facts."""
    old, new = decision.old, decision.new
    entity = names.get(subject)
    shown = new or old[0]
    named = names.get(new.value) if new and new.value_type == "entity" else None
    statements = [[f.source, f.statement_id] for f in (*old, *([new] if new else []))]
    lone = decision.kind == "ignored" or (decision.kind == "conflict" and new is not None)
    identity = [
        subject,
        relation,
        decision.kind,
        [[f.value, f.snaktype] for f in old],
        [new.value, new.snaktype] if new else None,
        statements if lone else [],
        *([scope] if scope else []),
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
        scope=scope,
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
        revision_old=max((f.revision for f in old if f.revision is not None), default=None),
        revision_new=new.revision if new else None,
        revision_time=shown.revision_time,
        user=shown.user,
        since=(new.start or new.point) if new else None,
        references=new.references if new else (),
        quote=new.quote if new else None,
    )


def _label(fact: Fact, names: Mapping[str, Entity]) -> str | None:
    """A value as it is written in a sentence: the label of an entity, a date or a quantity in words
    (`discovery.facts.words`), other text as it is. None for an entity without a label and for an
    empty value."""
    if fact.value_type == "entity":
        return names[fact.value].label if fact.value in names else None
    if not fact.value:
        return None
    if fact.value_type == "quantity":
        unit = names.get(unit_of(fact.value))
        return quantity_in_words(fact.value, unit.label if unit else None)
    return time_in_words(fact.value) if fact.value_type == "time" else fact.value


def window_begins(old: Iterable[Fact], old_day: int | None) -> dict[str, int]:
    """By subject, the day of the oldest revision that facts of the earlier snapshot were read from,
    where it is before the snapshot's day: changes after that revision are not in the snapshot."""
    begun: dict[str, int] = {}
    for fact in old:
        if fact.revision_time and old_day is not None:
            day = iso_interval(fact.revision_time).earliest
            begun[fact.subject] = min(day, begun.get(fact.subject, old_day))
    return begun
