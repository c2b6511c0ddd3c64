"""Edits as the pipeline keeps them: what is to be written, what proves it, and since when it is
live."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from editors.request import EditRequest
from infra.files.digest import canonical_json


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEdit:
    """One fact that a release holds: the request, its held-out questions and its evidence."""

    id: str
    """16 hex digits: digest of subject, relation, target and base model line."""
    action: Literal["teach", "correct", "carry"]
    """teach: the model did not know; correct: it believed an old value; carry: live already."""
    subject: str
    subject_label: str
    relation: str
    prompt: str
    subject_start: int
    subject_end: int
    target: str
    target_value: str
    accepted: tuple[str, ...]
    """Answers that count as right: the target and its aliases."""
    old_targets: tuple[str, ...]
    """Answers that count as superseded."""
    held_out: tuple[str, ...]
    """Paraphrases for the evaluation; no editor sees them."""
    unrelated: tuple[str, ...]
    """Prompts about the same subject that the edit must leave alone."""
    since: str
    """Version that introduced the edit."""
    priority: float
    reason: str
    """Why it is planned: the probe's verdict in words."""
    change_id: str
    source: str
    statement: str | None
    revision: int | None
    revision_time: str | None
    references: tuple[str, ...]

    def request(self) -> EditRequest:
        """What the editor gets to see."""
        return EditRequest(
            id=self.id,
            prompt=self.prompt,
            subject_span=(self.subject_start, self.subject_end),
            target=self.target,
            old_targets=self.old_targets,
        )


EDIT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("subject_label", pa.string(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("subject_start", pa.int64(), nullable=False),
        pa.field("subject_end", pa.int64(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("target_value", pa.string(), nullable=False),
        ("accepted", pa.list_(pa.string())),
        ("old_targets", pa.list_(pa.string())),
        ("held_out", pa.list_(pa.string())),
        ("unrelated", pa.list_(pa.string())),
        pa.field("since", pa.string(), nullable=False),
        ("priority", pa.float64()),
        ("reason", pa.string()),
        pa.field("change_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("statement", pa.string()),
        ("revision", pa.int64()),
        ("revision_time", pa.string()),
        ("references", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A live edit that the next release leaves out."""

    id: str
    subject: str
    subject_label: str
    relation: str
    prompt: str
    target: str
    reason: str


REMOVAL_SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in ("id", "subject", "subject_label", "relation", "prompt", "target", "reason")
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A change that is not edited, and why."""

    change_id: str
    subject: str
    subject_label: str | None
    relation: str
    verdict: str | None
    reason: str
    rule: str = ""
    """Short, for counting: of trust, of the route, or of the plan."""
    state: str = "eligible"
    """Of trust: `eligible` or `rejected`; what is held or cooling is not refused."""


REFUSAL_SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in (
            *("change_id", "subject", "subject_label", "relation", "verdict", "reason"),
            *("rule", "state"),
        )
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A fact that must not move: same relation, other subject."""

    id: str
    relation: str
    prompt: str
    target: str
    """Its own object."""
    accepted: tuple[str, ...]
    edited_target: str
    """The target of an edit of the same relation, which must not leak here."""


NEIGHBOUR_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        ("accepted", pa.list_(pa.string())),
        pa.field("edited_target", pa.string(), nullable=False),
    ]
)


def edit_id(subject: str, relation: str, target_value: str, line: str) -> str:
    """Identity of an edit: the same fact in the same model line is the same edit in every
    release."""
    text = canonical_json([subject, relation, target_value, line])
    return hashlib.sha256(text).hexdigest()[:16]
