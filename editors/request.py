"""What an editor is asked to do: one prompt, the subject's place in it, and the answer wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from infra.errors import EditError


@dataclass(frozen=True, slots=True)
class Wording:
    """A text about the subject."""

    text: str
    subject_span: tuple[int, int]
    """Half-open character range of the subject in `text`."""

    def __post_init__(self) -> None:
        start, end = self.subject_span
        if not 0 <= start < end <= len(self.text):
            raise EditError(
                f"subject_span={self.subject_span} is outside the text of {len(self.text)} "
                f"characters ({self.text!r}). Give 0 <= start < end <= length."
            )
        if self.text != self.text.strip():
            raise EditError(f"{self.text!r} has white space around it; remove it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """One fact to write into a model.

    The editor sees this and nothing else: held-out paraphrases and neighbours stay with the plan,
    so that no evaluation prompt can leak into an edit.
    """

    id: str
    """Stable identity of the edit; reports and quarantine speak of it."""
    prompt: str
    """Text up to, not including, the answer and the space before it: `Tom Brady plays for`."""
    subject_span: tuple[int, int]
    """Half-open character range of the subject in `prompt`: (0, 9) here. Never found by search."""
    target: str
    """The answer wanted, without a leading space: `Tampa Bay Buccaneers`."""
    old_targets: tuple[str, ...] = ()
    """Answers that must no longer be given; informative, no editor is obliged to use them."""
    wordings: tuple[Wording, ...] = ()
    """Other prompts that the target is to follow, in the form of `prompt`."""
    question: Wording | None = None
    """The fact as a question of a user in a chat, which the target is to answer; None where there
    is none."""
    relation: str = ""
    """Id of the relation, as in `EditorCall.relations`."""
    subject_id: str = ""
    """Id of the subject in its source. Two subjects may have one name."""
    aliases: tuple[str, ...] = ()
    """Other names of the subject."""

    def __post_init__(self) -> None:
        start, end = self.subject_span
        if not 0 <= start < end <= len(self.prompt):
            raise EditError(
                f"edit {self.id}: subject_span={self.subject_span} is outside the prompt of "
                f"{len(self.prompt)} characters ({self.prompt!r}). Give 0 <= start < end <= length."
            )
        if not self.target.strip():
            raise EditError(f"edit {self.id}: the target is empty. Give the answer to be written.")
        if self.target != self.target.strip() or self.prompt != self.prompt.rstrip():
            raise EditError(
                f"edit {self.id}: prompt {self.prompt!r} and target {self.target!r} are joined by "
                "one space; remove the white space at the end of the prompt and around the target."
            )

    def pack(self) -> list[Any]:
        """As a list of its fields, for JSON; those behind the fifth are left out where all are
        empty."""
        first = [self.id, self.prompt, list(self.subject_span), self.target, list(self.old_targets)]
        texts = [*self.wordings, *([self.question] if self.question else [])]
        if not (texts or self.subject_id or self.aliases or self.relation):
            return first
        packed = [[wording.text, *wording.subject_span] for wording in texts]
        ids = [self.subject_id, self.relation]
        return [*first, packed, self.question is not None, list(self.aliases), ids]

    @classmethod
    def unpack(cls, fields: Sequence[Any]) -> Self:
        """The request that `pack` packed."""
        name, prompt, (start, end), target, old, *more = fields
        packed, asked, aliases, (subject_id, relation) = more or ([], False, [], ("", ""))
        texts = [Wording(text, (start, end)) for text, start, end in packed]
        return cls(
            wordings=tuple(texts[: len(texts) - asked]),
            question=texts[-1] if asked else None,
            relation=relation,
            subject_id=subject_id,
            aliases=tuple(aliases),
            id=name,
            prompt=prompt,
            subject_span=(start, end),
            target=target,
            old_targets=tuple(old),
        )

    @property
    def content(self) -> list[Any]:
        """What an editor makes of it depends on: all but ids and the old answers, for JSON."""
        packed = self.pack()
        return [packed[1:4], packed[5:7], list(self.aliases)]

    @property
    def subject(self) -> str:
        """The subject as it stands in the prompt."""
        return self.prompt[slice(*self.subject_span)]
