"""Extraction by patterns: a relation's own statements, such as "[X] is married to [Y]."

It finds little, and what it finds is said in so many words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from discovery.extractors.sentences import Span, spans
from discovery.extractors.triple import ExtractorConfig, Triple, kinds_of
from discovery.relations.relation import OBJECT, SUBJECT, Relation


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
    if x.end > y.start or re.match(r"['\u2019]s?\b|\s+of\b|-", sentence[y.end :]):
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
    words = re.escape(text).replace(r"\ ", r"\s+").replace("'", "['\u2019]")
    return re.sub(r"\bis\b", "(?:is|was)", words)
