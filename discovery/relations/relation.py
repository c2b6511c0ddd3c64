"""Facts -> sentences: the templates of a relation, filled with cleaned labels.

A template has the subject `[X]` once and ends in the object `[Y]`: cut before the object, it is a
prompt. The span of the subject in the prompt is known from where the label was pasted, and is not
searched for, since a label may occur twice in a sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from discovery.relations.fallback import templates_of
from discovery.relations.labels import clean_label, rendered
from infra.errors import ConfigError
from infra.files.text import read_text_file

SUBJECT, OBJECT = "[X]", "[Y]"
_SUBJECT_ALONE = re.compile(r"(?:^|[\s(\"])\[X\](?=\s|'s\s|[,)\"?])")
"""`[X]` as a word of its own, followed at most by a possessive or a punctuation mark."""
_FIXED_ARTICLE = re.compile(r"\ban? \[[XY]\]", re.IGNORECASE)


def _template(text: str) -> str:
    """A statement with a subject that ends in the object."""
    if text.count(SUBJECT) != 1 or text.count(OBJECT) != 1 or not text.endswith(f" {OBJECT}."):
        raise ValueError(f"{text!r} must hold {SUBJECT} once and end in ' {OBJECT}.'")
    return _grammatical(text)


def _neutral(text: str) -> str:
    """A statement without a subject that ends in the object."""
    if SUBJECT in text or text.count(OBJECT) != 1 or not text.endswith(f" {OBJECT}."):
        raise ValueError(f"{text!r} must not hold {SUBJECT} and must end in ' {OBJECT}.'")
    return _grammatical(text)


def _question(text: str) -> str:
    """A question about a subject."""
    if text.count(SUBJECT) != 1 or OBJECT in text or not text.endswith("?"):
        raise ValueError(f"{text!r} must hold {SUBJECT} once, no {OBJECT}, and end in '?'")
    return _grammatical(text)


def _grammatical(text: str) -> str:
    """The text, if it is a sentence with any label pasted into it. Raises ValueError otherwise."""
    if SUBJECT in text and not _SUBJECT_ALONE.search(text):
        raise ValueError(f"{text!r}: {SUBJECT} must stand by itself, or before 's or a comma")
    if match := _FIXED_ARTICLE.search(text):
        raise ValueError(f"{text!r}: {match[0]!r} fits some names only; write it without a or an")
    if text != " ".join(text.split()):
        raise ValueError(f"{text!r} has spaces too many")
    if not (text[0].isupper() or text.startswith(SUBJECT)):
        raise ValueError(f"{text!r} must begin with a capital or with {SUBJECT}")
    return text


Template = Annotated[str, AfterValidator(_template)]
Neutral = Annotated[str, AfterValidator(_neutral)]
QuestionTemplate = Annotated[str, AfterValidator(_question)]


@dataclass(frozen=True, slots=True)
class ClozePrompt:
    """The start of a sentence that the object completes, or a question that it answers."""

    text: str
    """Without a space at its end: the object follows as ` object`."""
    subject_span: tuple[int, int]
    """Characters of the subject: `text[start:end]`."""


class Relation(BaseModel):
    """The templates of one relation, and how many objects a subject has at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """The relation's id in its source, such as `P54`."""
    label: str
    """The source's own label of the relation."""
    functional: bool = False
    """Whether a subject has at most one object at a time, so that a new object replaces the old.
    Several objects at once are then a conflict, and nothing is edited."""
    separators: tuple[str, ...] = ()
    """Qualifiers (P4155) that divide the statements of a subject into scopes; a functional relation
    has at most one object in each scope."""
    inverse: str | None = None
    """Id of the relation that states the same from the object's side (P1696); its own id where the
    relation is symmetric."""
    subject_type: str = "thing"
    """Person, organisation, place or thing; selects `unrelated` in the relations file."""
    object_type: str
    """What objects are. `person` asks for them with `who`; `date`, `number` and some kinds of nouns
    select the spans that an extractor considers; any other text is for a person to read."""
    statements: tuple[Template, ...] = Field(min_length=3)
    """Templates that the model is probed with; the first is also the prompt of an edit."""
    held_out: tuple[Template, ...] = Field(min_length=3)
    """Paraphrases that measure generality; no editor ever sees them."""
    question: QuestionTemplate
    """The relation as a question about the subject."""
    held_out_questions: tuple[QuestionTemplate, ...] = ()
    """The same question in other words, to measure generality in a chat; no editor ever sees them.
    Made from the label where a file gives none."""
    neutral: tuple[Neutral, ...] = Field(min_length=3)
    """Each of `statements` without its subject, to score how likely the object is by itself."""
    unrelated: tuple[Template, ...] = ()
    """Statements of other relations of the same subject, which an edit must not change."""
    fallback: bool = False
    """Whether the templates were made from the label (`discovery.relations.fallback`), unread by
    anybody."""

    @model_validator(mode="after")
    def _check(self) -> Relation:
        if len(self.neutral) != len(self.statements):
            raise ValueError("neutral needs one form for each of statements")
        if set(self.held_out) & set(self.statements):
            raise ValueError("a held-out paraphrase is also a statement")
        if self.question in self.held_out_questions:
            raise ValueError("a held-out question is also the question")
        for statement, neutral in zip(self.statements, self.neutral, strict=True):
            if statement.split()[-2] not in (neutral.split()[-2], SUBJECT):
                raise ValueError(f"neutral {neutral!r} must end in the same words as {statement!r}")
        return self

    def prompt(self, template: str, subject_label: str) -> ClozePrompt:
        """A template with its subject, cut before the object.

        Raises ValueError for a label that is empty after cleaning.
        """
        before, _, after = template.partition(SUBJECT)
        label = clean_label(subject_label)
        if not label:
            raise ValueError(f"label {subject_label!r} has no printable character")
        return ClozePrompt(*rendered(before, label, after.removesuffix(f" {OBJECT}.")))

    def neutral_prompt(self, statement: int) -> str:
        """`statements[statement]` without its subject, cut before the object."""
        return self.neutral[statement].removesuffix(f" {OBJECT}.")

    def ask(self, subject_label: str) -> str:
        """The question with its subject."""
        return self.asked(self.question, subject_label).text

    def asked(self, question: str, subject_label: str) -> ClozePrompt:
        """A question template with its subject; nothing is cut."""
        before, _, after = question.partition(SUBJECT)
        return ClozePrompt(*rendered(before, clean_label(subject_label), after))


def fallback_relation(
    key: str, label: str, object_type: str = "thing", functional: bool = False
) -> Relation:
    """A relation whose templates are made from its label, marked `fallback`.

    Raises ValueError for a label without a word in it.
    """
    made = templates_of(label, person=object_type == "person")
    return Relation(id=key, label=label, object_type=object_type, functional=functional, **made)


def functional_of(relations: Mapping[str, Relation]) -> dict[str, tuple[str, ...]]:
    """The functional relations, with their separators."""
    return {key: r.separators for key, r in relations.items() if r.functional}


def load_relations(extra_path: Path | None = None) -> Mapping[str, Relation]:
    """By id, the built-in English relations and those of a user's file, which replace built-in ones
    of the same id.

    Raises ConfigError with the relation and what is wrong with it.
    """
    if extra_path is None:
        return _built_in()
    try:
        extra = json.loads(read_text_file(extra_path, "relations file"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"relations file {extra_path}: {error}. Give a JSON file.") from error
    return MappingProxyType({**_built_in(), **_relations(extra, str(extra_path))})


@cache
def _built_in() -> Mapping[str, Relation]:
    text = (files("discovery") / "relations" / "en.json").read_text(encoding="utf-8")
    return MappingProxyType(_relations(json.loads(text), "discovery/relations/en.json"))


def _relations(raw: Mapping[str, Any], origin: str) -> dict[str, Relation]:
    """The relations of a file, by id.

    `unrelated` comes from the file's list for the subject's type, without the statements of the
    relation itself. A relation with a label but no `statements` gets templates made from its label,
    and one without `held_out_questions` those.
    Raises ConfigError with the file and the relation.
    """
    listed = raw.get("relations") if isinstance(raw, Mapping) else None
    if not isinstance(listed, Mapping):
        raise ConfigError(f'{origin}: no relations. Write {{"relations": {{"P54": {{...}}}}}}.')
    made = {}
    for key, fields in listed.items():
        if not isinstance(fields, Mapping):
            raise ConfigError(f"{origin}: relation {key}: {fields!r} is no object of settings.")
        own = {*_texts(fields.get("statements")), *_texts(fields.get("held_out"))}
        others = _unrelated(raw, fields.get("subject_type", "thing"))
        fields = {"unrelated": [text for text in others if text not in own], **fields, "id": key}
        try:
            if isinstance(fields.get("label"), str):
                person = fields.get("object_type") == "person"
                from_label = templates_of(fields["label"], person=person)
                if "statements" in fields:
                    others = from_label["held_out_questions"]
                    unlike = [text for text in others if text != fields.get("question")]
                    from_label = {"held_out_questions": unlike}
                fields = {**from_label, **fields}
            made[key] = Relation.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{origin}: relation {key}: {where}: {first['msg']}.") from None
        except ValueError as error:
            raise ConfigError(f"{origin}: relation {key}: {error}.") from None
    return made


def _unrelated(raw: Mapping[str, Any], subject_type: Any) -> list[str]:
    """The file's statements of other relations of a type of subjects."""
    listed = raw.get("unrelated")
    by_type = listed if isinstance(listed, Mapping) else {}
    return _texts(by_type.get(subject_type)) if isinstance(subject_type, str) else []


def _texts(value: Any) -> list[str]:
    """The texts in a list; of anything else, which its field refuses, nothing."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
