"""Triples, which extractors find in sentences; the settings of extractors; what they may read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from discovery.extractors.sentences import SpanKind
from discovery.relations.relation import Relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """A fact that one sentence states."""

    subject: str
    relation: str
    """Id of the relation."""
    object: str
    sentence: str
    """The whole sentence; subject and object are parts of it, letter by letter."""
    score: float
    """How sure the extractor is; comparable between triples of the same extractor only."""


class ExtractorConfig(BaseModel):
    """Which extractor is used, and how it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["patterns", "model"] = "patterns"
    model: str | None = None
    """For `model`: a directory or a Hugging Face id; unset: the embedded model."""
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    dtype: str = Field(default="auto", pattern=r"^(auto|float32|bfloat16|float16)$")
    margin: float = 1.0
    """For `model`: nats above which a score counts as a triple."""


_DOUBT = re.compile(
    r"\b(?:not|no|never|nor|neither|cannot|\w+n['\u2019]t|without|denie[sd]|deny|refute[sd]?|false|"
    r"falsely|untrue|hoax|fake|alleged(?:ly)?|reported(?:ly)?|rumou?r\w*|claim(?:s|ed)?|"
    r"supposed(?:ly)?|"
    r"might|may|could|would|should|if|whether|unless|perhaps|possibly|probably|likely|expected|"
    r"former(?:ly)?|ex|once|until|fictional|novel|imagine[sd]?)\b|\?\s*$",
    re.IGNORECASE,
)
_MAY = re.compile(r"\b(?:[0-3]?\d\s+May|May\s+(?:[0-3]?\d|\d{4}))\b|\bin May\b")


def is_plain(sentence: str) -> bool:
    """Whether a sentence states something as true now: it does not deny, doubt, ask, suppose, or
    speak of the past."""
    return not _DOUBT.search(_MAY.sub(" ", sentence))


NOUNS = frozenset({"occupation", "genre", "instrument", "position", "material", "class"})
"""Types of objects that are written in lower case, so that nouns count beside names."""


def kinds_of(relation: Relation) -> frozenset[SpanKind]:
    """The kinds of spans that can be an object of the relation."""
    kinds: set[SpanKind] = {"name"}
    if relation.object_type in ("date", "number"):
        kinds = {"date"} if relation.object_type == "date" else {"number"}
    elif relation.object_type in NOUNS:
        kinds = {"name", "noun"}
    return frozenset(kinds)
