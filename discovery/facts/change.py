"""Changes: what happened to a fact between two snapshots, and by which rule of the diff.

`DiffRule` is the list of the rules with their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import pyarrow as pa

from discovery.facts.fact import INTERVAL, Interval, ValueType

ChangeKind = Literal["learn", "replace", "forget", "vacated", "keep", "conflict", "ignored"]
"""What follows from a change for a model that knows the earlier snapshot:

    learn     the new value is true
    replace   the new value is true instead of the old one
    forget    the old value is no longer true
    vacated   the old value is no longer true, and there is no other value now
    keep      the value is true as before
    conflict  sources disagree, or a source contradicts itself or is unsure
    ignored   nothing follows, or it cannot be decided
"""

ACTIVE_KINDS = frozenset({"learn", "replace", "forget", "vacated", "conflict"})
"""Kinds of change in which a source states something else than before."""


class DiffRule(StrEnum):
    """The rules of the diff, by the situation of a fact or a group in which each applies.

    A group is the facts of one subject and one relation (and one value of its separators, where the
    relation has any). The window is the time from the earlier snapshot, exclusive, to the later
    one, inclusive. A value is current where it holds on the snapshot's day by the statements of
    best rank (`discovery.facts.current_view`). The first rule that applies decides
    (`discovery.diff.rules`); an arrow names the kind of change that it gives.

    The values stand in the column `rule` of the changes on disk. Changes that were read from there
    hold plain strings: compare with `==`, which is the comparison of strings.
    """

    STARTS_AFTER_END = "1"
    """A statement starts after it ends -> conflict."""
    SEVERAL_VALUES = "2"
    """Several values of a functional relation are current at once -> conflict, or ignored while
    they are the same as in the earlier snapshot."""
    CONTESTED = "3"
    """The source marks a statement as disputed (P1310) or hedged (P5102) -> conflict."""
    METADATA_CHANGED = "4"
    """The value holds as before; only its rank, references or qualifiers other than dates changed
    -> keep."""
    REFINED = "5"
    """The dates of a value that holds as before changed, or a time value or a quantity was given
    more precisely within its old bounds -> keep."""
    SAME_LABEL = "6"
    """The old and the new value have the same label, so that no sentence changes -> ignored."""
    SCHEDULED = "7"
    """A statement starts after the later snapshot -> ignored, until its day has come."""
    TRANSIENT = "8"
    """A statement began and ended within the window -> ignored."""
    HISTORICAL = "9"
    """A statement ended before the window -> ignored."""
    UNDECIDED = "10"
    """A date is too imprecise to decide by, or it is unclear which of several values was replaced
    -> ignored, until a later snapshot decides it."""
    SUCCESSION = "11"
    """Another value of a functional relation is current, and began in the window -> replace."""
    CORRECTION = "12"
    """Another value of a functional relation is current, and no date says that it began in the
    window -> replace; the source may have been wrong before, so a person reviews it."""
    RETRACTED = "13"
    """A current statement was removed or deprecated without an end date -> forget."""
    VACATED = "14"
    """The only value ended in the window, or the source says that there is none now (`novalue`)
    -> vacated."""
    UNKNOWN_VALUE = "15"
    """The source says that there is a value now, but that it is unknown (`somevalue`) -> ignored.
    """
    DERIVED = "16"
    """No source states it: it follows from another change by an inverse or a symmetric relation
    (`discovery.diff.derived`) -> learn, and never acted on alone."""
    NEW_SUBJECT = "17"
    """The subject is not in the earlier snapshot and began in the window -> learn."""
    ADDED = "18"
    """A value was added that began in the window, and no other is replaced by it -> learn."""
    ENDED = "19"
    """A value ended in the window, while others of the group are current -> forget."""
    DATE_OF_DEATH = "20"
    """A date of death or burial was added (P570, P4602) -> learn if it is the only one and lies in
    the window, else ignored."""
    STILL_HOLDS = "21"
    """The value was true before the window and is current -> keep."""
    UNEXPLAINED = "22"
    """Anything else: a value came or went, and nothing says why -> ignored."""
    UNREADABLE = "23"
    """A part of the group cannot be read, so that what is read may be former or not all -> ignored,
    until a later snapshot can be read."""
    FIRST_SNAPSHOT = "first"
    """There is no earlier snapshot that could be read, and the value is current -> learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to one (subject, relation) between two snapshots, by which rule, and on which
    evidence."""

    id: str
    """16 hex digits: digest of subject, relation, scope, kind, old and new values; of some kinds
    also of the statements."""
    kind: ChangeKind
    rule: str
    """The `DiffRule` that decided."""
    reason: str
    """One sentence for a person."""
    subject: str
    subject_label: str | None
    subject_aliases: tuple[str, ...] = ()
    popularity: int = 0
    """Number of the subject's sitelinks."""
    relation: str
    scope: str = ""
    """The values of the relation's separators (qualifiers that tell several facts of one subject
    apart) that this change is about: canonical JSON, `[]` for facts without these qualifiers. Empty
    where the subject has one group of the relation only."""
    value_type: ValueType
    old_values: tuple[str, ...] = ()
    """The values before the change. Of a `learn` of a functional relation: values that the source
    says held at some earlier time. Of a conflict of several values: all of them."""
    old_labels: tuple[str, ...] = ()
    """Labels of the old values, in their order; the value itself where it has no label."""
    old_starts: tuple[Interval | None, ...] = ()
    """When each old value began to hold, as far as the source says."""
    old_ends: tuple[Interval | None, ...] = ()
    """When each old value ceased to hold, as far as the source says."""
    new_value: str | None = None
    new_label: str | None = None
    new_aliases: tuple[str, ...] = ()
    source: str
    old_statements: tuple[str, ...] = ()
    new_statement: str | None = None
    revision_old: int | None = None
    revision_new: int | None = None
    revision_time: str | None = None
    user: str | None = None
    """Who made the revision, where the source says so."""
    since: Interval | None = None
    """When the new value began to hold, as far as the source says."""
    references: tuple[str, ...] = ()
    quote: str | None = None
    """The sentence that states the fact, where the fact was extracted from text."""


CHANGE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        ("subject_label", pa.string()),
        ("subject_aliases", pa.list_(pa.string())),
        ("popularity", pa.int64()),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("scope", pa.string(), nullable=False),
        pa.field("value_type", pa.string(), nullable=False),
        ("old_values", pa.list_(pa.string())),
        ("old_labels", pa.list_(pa.string())),
        ("old_starts", pa.list_(INTERVAL)),
        ("old_ends", pa.list_(INTERVAL)),
        ("new_value", pa.string()),
        ("new_label", pa.string()),
        ("new_aliases", pa.list_(pa.string())),
        pa.field("source", pa.string(), nullable=False),
        ("old_statements", pa.list_(pa.string())),
        ("new_statement", pa.string()),
        ("revision_old", pa.int64()),
        ("revision_new", pa.int64()),
        ("revision_time", pa.string()),
        ("user", pa.string()),
        ("since", INTERVAL),
        ("references", pa.list_(pa.string())),
        ("quote", pa.string()),
    ]
)
