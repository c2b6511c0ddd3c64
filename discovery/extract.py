"""Sentences -> triples of the relations that are asked for, each with the sentence that says it.

An extractor only points: subject and object are spans of the sentence (`discovery.sentences`), and
the relation is one of those given. To add one, write its file and its line in `EXTRACTORS`.
It is shown plain sentences only (`is_plain`): none that deny, doubt or suppose.

`patterns` reads a relation's own statements as patterns: "[X] is married to [Y]." It finds little,
and what it finds is said in so many words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from discovery.sentences import Span, SpanKind, spans
from discovery.verbalise import OBJECT, SUBJECT, Relation
from infra.models import EMBEDDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """What one sentence says."""

    subject: str
    relation: str
    """Id."""
    object: str
    sentence: str
    """The whole of it, which holds subject and object as they stand."""
    score: float
    """The extractor's own measure; comparable between triples of one extractor only."""


class ExtractorConfig(BaseModel):
    """Which extractor, and how it is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["patterns", "model"] = "patterns"
    model: str = EMBEDDED
    """Of `model`: an embedded model's name, a directory, or a Hugging Face id."""
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    dtype: str = Field(default="auto", pattern=r"^(auto|float32|bfloat16|float16)$")
    margin: float = 1.0
    """Of `model`: nats by which a statement must lead."""


class Extractor(Protocol):
    """What a source needs of an extractor."""

    def identity(self) -> Mapping[str, str | float]:
        """Name, version and all that its answers depend on besides sentence and relations."""
        ...

    def extract(
        self, sentences: Sequence[str], relations: Sequence[Relation]
    ) -> list[Triple]: ...


_DOUBT = re.compile(
    r"\b(?:not|no|never|nor|neither|cannot|\w+n['’]t|without|denie[sd]|deny|refute[sd]?|false|"
    r"falsely|untrue|hoax|fake|alleged(?:ly)?|reported(?:ly)?|rumou?r\w*|claim(?:s|ed)?|supposed(?:ly)?|"
    r"might|may|could|would|should|if|whether|unless|perhaps|possibly|probably|likely|expected|"
    r"former(?:ly)?|ex|once|until|fictional|novel|imagine[sd]?)\b|\?\s*$",
    re.IGNORECASE,
)
_MAY = re.compile(r"\b(?:[0-3]?\d\s+May|May\s+(?:[0-3]?\d|\d{4}))\b|\bin May\b")


def is_plain(sentence: str) -> bool:
    """Whether a sentence states, and does not deny, doubt, ask, suppose or look back."""
    return not _DOUBT.search(_MAY.sub(" ", sentence))


NOUNS = frozenset({"occupation", "genre", "instrument", "position", "material", "class"})
"""Types of objects that are written in lower case too."""


def kinds_of(relation: Relation) -> frozenset[SpanKind]:
    """Kinds of spans that can be a relation's object."""
    kinds: set[SpanKind] = {"name"}
    if relation.object_type in ("date", "number"):
        kinds = {"date"} if relation.object_type == "date" else {"number"}
    elif relation.object_type in NOUNS:
        kinds = {"name", "noun"}
    return frozenset(kinds)


class PatternExtractor:
    """A relation's statements, held-out ones too, as patterns."""

    def __init__(self, config: ExtractorConfig) -> None:
        pass

    def identity(self) -> Mapping[str, str | float]:
        return {"name": "patterns", "version": "1"}

    def extract(self, sentences: Sequence[str], relations: Sequence[Relation]) -> list[Triple]:
        """One triple for each pair of spans that stand in a statement as subject and object; score
        1."""
        found = []
        for sentence in sentences:
            places = spans(sentence)
            for relation in relations:
                kinds = kinds_of(relation)
                pairs = [
                    (x, y) for x in places for y in places if x.kind == "name" and y.kind in kinds
                ]
                said = {(x.text, y.text): None for x, y in pairs if _says(sentence, x, y, relation)}
                for subject, value in said:
                    found.append(
                        Triple(
                            subject=subject,
                            relation=relation.id,
                            object=value,
                            sentence=sentence,
                            score=1.0,
                        )
                    )
        return found


def _says(sentence: str, x: Span, y: Span, relation: Relation) -> bool:
    """Whether a statement of the relation stands in the sentence, filled with the two."""
    if x.end > y.start or re.match(r"['’]s?\b|\s+of\b|-", sentence[y.end :]):
        return False
    before, between = sentence[: x.start], sentence[x.end : y.start]
    return any(
        middle.fullmatch(between) and start.search(before)
        for start, middle in _patterns((*relation.statements, *relation.held_out))
    )


@cache
def _patterns(templates: tuple[str, ...]) -> tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]:
    """Of each template, what stands before the subject and between it and the object.

    The statement begins the sentence, or a clause of it: behind "the son of" it would be of
    another. An article may stand before either name, and what is so may have been so.
    """
    made = []
    for template in templates:
        before, _, rest = template.partition(SUBJECT)
        between = rest.partition(OBJECT)[0]
        start = rf"(?:^|[,;:(]\s+|\b(?:and|but|that|while)\s+){_literal(before)}(?:the\s+)?$"
        made.append(
            (re.compile(start, re.I), re.compile(rf"{_literal(between)}(?:an?\s+|the\s+)?", re.I))
        )
    return tuple(made)


def _literal(text: str) -> str:
    words = re.escape(text).replace(r"\ ", r"\s+").replace("'", "['’]")
    return re.sub(r"\bis\b", "(?:is|was)", words)
