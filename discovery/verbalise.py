"""Facts -> sentences: templates of a relation, filled with labels that nobody vouches for.

A template has the subject `[X]` once and ends in the object `[Y]`, so that cutting it before the
object gives a prompt. The subject's place in the prompt is known from the cut, never searched for:
a label may occur twice in a sentence. Labels are only ever pasted, never formatted, and are cleaned
first.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra.errors import ConfigError

SUBJECT, OBJECT = "[X]", "[Y]"
MAX_LABEL_CHARS = 120
"""Longer labels are descriptions, not names; they are cut at a word."""


def _template(text: str) -> str:
    """A statement with a subject that ends in the object."""
    if text.count(SUBJECT) != 1 or text.count(OBJECT) != 1 or not text.endswith(f" {OBJECT}."):
        raise ValueError(f"{text!r} must hold {SUBJECT} once and end in ' {OBJECT}.'")
    return text


def _neutral(text: str) -> str:
    """A statement without a subject that ends in the object."""
    if SUBJECT in text or text.count(OBJECT) != 1 or not text.endswith(f" {OBJECT}."):
        raise ValueError(f"{text!r} must not hold {SUBJECT} and must end in ' {OBJECT}.'")
    return text


Template = Annotated[str, AfterValidator(_template)]
Neutral = Annotated[str, AfterValidator(_neutral)]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The start of a sentence that the object completes."""

    text: str
    """Without a space at its end: the object follows as ` object`."""
    subject_span: tuple[int, int]
    """Characters of the subject: `text[start:end]`."""


class Relation(BaseModel):
    """How one relation is said, and how many objects a subject has at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    label: str
    """The source's own name of the relation."""
    functional: bool = False
    """A subject has at most one object at a time, so a new one ends the old. Where that is only
    usual, the diff reports several at once as a conflict and nothing is edited."""
    separators: tuple[str, ...] = ()
    """Qualifiers that tell apart statements which are then functional each by itself (P4155)."""
    inverse: str | None = None
    """Relation that says the same from the object's side (P1696); itself where it is symmetric."""
    subject_type: str = "thing"
    """Selects `unrelated`: person, organisation, place or thing."""
    object_type: str
    """For a person to read; distractors are drawn from objects of the same relation."""
    statements: tuple[Template, ...] = Field(min_length=3)
    """Asked when probing; the first is also the edit's prompt."""
    held_out: tuple[Template, ...] = Field(min_length=3)
    """Paraphrases that measure generality; no editor ever sees them."""
    question: str
    neutral: tuple[Neutral, ...] = Field(min_length=3)
    """Each of `statements` without its subject: what the object scores by itself."""
    unrelated: tuple[Template, ...] = ()
    """Statements of other relations of the same subject, which an edit must leave alone."""

    @model_validator(mode="after")
    def _check(self) -> Relation:
        if len(self.neutral) != len(self.statements):
            raise ValueError("neutral needs one form for each of statements")
        if set(self.held_out) & set(self.statements):
            raise ValueError("a held-out paraphrase is also a statement")
        if self.question.count(SUBJECT) != 1 or OBJECT in self.question:
            raise ValueError(f"question must hold {SUBJECT} once and no {OBJECT}")
        return self

    def prompt(self, template: str, subject_label: str) -> Prompt:
        """A template with its subject, cut before the object.

        Raises ValueError for a label with nothing left after cleaning.
        """
        before, _, after = template.partition(SUBJECT)
        label = clean_label(subject_label)
        if not label:
            raise ValueError(f"label {subject_label!r} has no printable character")
        text = before + label + after.removesuffix(f" {OBJECT}.")
        return Prompt(text, (len(before), len(before) + len(label)))

    def neutral_prompt(self, statement: int) -> str:
        """The prior form of `statements[statement]`, cut before the object."""
        return self.neutral[statement].removesuffix(f" {OBJECT}.")

    def ask(self, subject_label: str) -> str:
        """The question about a subject."""
        before, _, after = self.question.partition(SUBJECT)
        return before + clean_label(subject_label) + after


def clean_label(label: str, max_chars: int = MAX_LABEL_CHARS) -> str:
    """A label on one line: NFC, no control or format characters, single spaces, cut at a word."""
    text = unicodedata.normalize("NFC", label)
    # Cc control, Cf format (zero width, bidi), Cs surrogates, Zl and Zp line and paragraph ends.
    spaced = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Zs") else c
        for c in text
        if unicodedata.category(c) not in ("Cf", "Cs")
    )
    words = " ".join(spaced.split())
    if len(words) <= max_chars:
        return words
    return words[: max_chars + 1].rpartition(" ")[0] or words[:max_chars]


def load_relations(extra_path: Path | None = None) -> Mapping[str, Relation]:
    """The built-in English relations by id, with those of a user's file added or put in their
    place.

    Raises ConfigError with the relation and what is wrong with it.
    """
    if extra_path is None:
        return _built_in()
    try:
        extra = json.loads(extra_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"relations file {extra_path}: {error}. Give a JSON file.") from error
    return MappingProxyType({**_built_in(), **_relations(extra, str(extra_path))})


@cache
def _built_in() -> Mapping[str, Relation]:
    text = (files("discovery") / "relations" / "en.json").read_text(encoding="utf-8")
    return MappingProxyType(_relations(json.loads(text), "discovery/relations/en.json"))


def _relations(raw: Mapping[str, Any], origin: str) -> dict[str, Relation]:
    """Relations of a file; `unrelated` is by type of subject, less those a relation says itself."""
    made = {}
    for key, fields in raw.get("relations", {}).items():
        own = {*fields.get("statements", ()), *fields.get("held_out", ())}
        others = raw.get("unrelated", {}).get(fields.get("subject_type", "thing"), ())
        fields = {"unrelated": [text for text in others if text not in own], **fields, "id": key}
        try:
            made[key] = Relation.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{origin}: relation {key}: {where}: {first['msg']}.") from None
    return made
