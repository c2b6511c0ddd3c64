"""Records of a plan and their Parquet schemas: edits, removals, refusals and neighbours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from editors.request import EditRequest, Wording
from infra.files.digest import canonical_json

Lane = Literal["weights", "beside", "sheet"]
"""Where a fact is kept (`pipeline.plan.lanes`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEdit:
    """One fact that a release holds: the edit request, its held-out prompts and its evidence."""

    id: str
    """16 hex digits: digest of subject, relation, target value and model line (`edit_id`)."""
    action: Literal["teach", "correct", "carry"]
    """teach: the model did not know the fact; correct: it believed another value; carry: the parent
    release holds the edit already."""
    subject: str
    """Id of the subject."""
    subject_label: str
    """Name of the subject, as in the prompt."""
    relation: str
    """Id of the relation."""
    prompt: str
    """Statement of the fact, cut before the object."""
    subject_start: int
    """Offset of the subject's first character in the prompt."""
    subject_end: int
    """Offset after the subject's last character."""
    target: str
    """The object's name, which is to follow the prompt."""
    target_value: str
    """The object: an id or a literal."""
    accepted: tuple[str, ...]
    """Answers that count as right: the target and its other names."""
    old_targets: tuple[str, ...]
    """Names of the superseded objects; the model must not give them any more."""
    held_out: tuple[str, ...]
    """Paraphrases of the prompt for the evaluation; no editor sees them."""
    unrelated: tuple[str, ...]
    """Prompts about other facts of the subject, whose answers the edit must not change."""
    since: str
    """Version of the release that introduced the edit."""
    priority: float
    """Edits of a high priority come first under the budget (`discovery.probe.route.priority`)."""
    reason: str
    """Why it is planned: the probe's verdict in words."""
    change_id: str
    """Id of the change that it was made from."""
    source: str
    """Name of the source that states the fact."""
    statement: str | None
    """Id of the statement in the source."""
    revision: int | None
    """Revision of the source's page or entity."""
    revision_time: str | None
    """Time of that revision, as the source gives it."""
    references: tuple[str, ...]
    """References that the source gives for the statement."""
    wordings: tuple[str, ...] = ()
    """The relation's other statements, cut before the object: prompts that the editor may use."""
    wording_starts: tuple[int, ...] = ()
    """Offset of the subject's first character in each of `wordings`."""
    question: str | None = None
    """The fact as a question."""
    question_start: int | None = None
    """Offset of the subject's first character in the question."""
    held_out_questions: tuple[str, ...] = ()
    """The question in other words for the evaluation; no editor sees them."""
    subject_aliases: tuple[str, ...] = ()
    """Other names of the subject."""
    lane: Lane = "weights"
    """Where the fact is kept; `sheet` while there is no room for it elsewhere."""

    @property
    def seen(self) -> tuple[str, ...]:
        """The prompts that the editor is given."""
        return (self.prompt, *self.wordings, *([self.question] if self.question else []))

    def request(self) -> EditRequest:
        """The part that the editor is given; raises EditError where it is malformed."""
        length = self.subject_end - self.subject_start
        places = zip(self.wordings, self.wording_starts, strict=True)
        question = None
        if self.question is not None and self.question_start is not None:
            start = self.question_start
            question = Wording(self.question, (start, start + length))
        return EditRequest(
            wordings=tuple(Wording(text, (start, start + length)) for text, start in places),
            question=question,
            relation=self.relation,
            subject_id=self.subject,
            aliases=self.subject_aliases,
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
        ("wordings", pa.list_(pa.string())),
        ("wording_starts", pa.list_(pa.int64())),
        ("question", pa.string()),
        ("question_start", pa.int64()),
        ("held_out_questions", pa.list_(pa.string())),
        ("subject_aliases", pa.list_(pa.string())),
        pa.field("lane", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An edit of the parent release that the next release leaves out, and why."""

    id: str
    """Id of the edit."""
    subject: str
    """Id of the subject."""
    subject_label: str
    relation: str
    """Id of the relation."""
    prompt: str
    """Prompt of the edit."""
    target: str
    """Target of the edit, which the next model should no longer give."""
    reason: str


REMOVAL_SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in ("id", "subject", "subject_label", "relation", "prompt", "target", "reason")
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A change that is neither edited nor kept for a later edition, and why."""

    change_id: str
    subject: str
    """Id of the subject."""
    subject_label: str | None
    relation: str
    """Id of the relation."""
    verdict: str | None
    """The probe's verdict; None if the model was not asked."""
    reason: str
    """The reason in words."""
    rule: str = ""
    """Short name of the rule that decided, for counting; it belongs to trust, the route or the
    plan."""
    state: str = "eligible"
    """State that trust gave the change: `eligible` or `rejected`. A page lists changes that wait as
    refusals too, with the state of each (`pipeline.plan.triage.as_refusals`)."""


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
    """A fact that no edit may change: an edited relation, a subject that is not edited."""

    id: str
    """Id of the change record that the fact was taken from."""
    relation: str
    """Id of the relation."""
    prompt: str
    """Statement of the fact, cut before the object."""
    target: str
    """Name of its own object."""
    accepted: tuple[str, ...]
    """Answers that count as right: the target and its other names."""
    edited_target: str
    """The target of an edit of the same relation; the model must not answer with it here."""
    question: str | None = None
    """The fact as a question."""


NEIGHBOUR_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        ("accepted", pa.list_(pa.string())),
        pa.field("edited_target", pa.string(), nullable=False),
        ("question", pa.string()),
    ]
)


def edit_id(subject: str, relation: str, target_value: str, line: str) -> str:
    """Id of an edit, 16 hex digits; a fact has the same id in every release of a model line."""
    text = canonical_json([subject, relation, target_value, line])
    return hashlib.sha256(text).hexdigest()[:16]
