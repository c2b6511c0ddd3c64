"""Changes: what happened to a fact between two snapshots, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from discovery.facts.fact import INTERVAL, Interval, ValueType

ChangeKind = Literal["learn", "replace", "forget", "vacated", "keep", "conflict", "ignored"]


DERIVED = "16"
"""Rule of a change that no source states, but that follows from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to one (subject, relation) between two snapshots, and why we say so."""

    id: str
    """16 hex digits: digest of subject, relation, kind, old and new values."""
    kind: ChangeKind
    rule: str
    """Number of the semantics row that decided (`11`), or `first` without an earlier snapshot."""
    reason: str
    """One sentence for a person."""
    subject: str
    subject_label: str | None
    subject_aliases: tuple[str, ...] = ()
    popularity: int = 0
    """Sitelinks of the subject."""
    relation: str
    scope: str = ""
    """Where the source tells several facts of a relation apart by qualifiers (`separators`), those
    of this one: canonical JSON, `[]` for the one without; empty where there is but one."""
    value_type: ValueType
    old_values: tuple[str, ...] = ()
    """What it was; of a functional `learn`, what the source says it was at some time before; of a
    conflict, all values at once."""
    old_labels: tuple[str, ...] = ()
    """Labels of the old values, the value itself where it has none."""
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
    """The sentence that says so, where it was read in text."""


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
