"""Extraction by patterns: the templates of a relation, such as "[X] is married to [Y]."

It finds only facts that a sentence states in the words of a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from discovery.extractors.sentences import Span, spans
from discovery.extractors.triple import ExtractorConfig, Triple, kinds_of
from discovery.relations.relation import OBJECT, SUBJECT, Relation


class PatternExtractor:
    """Finds the statements of relations, and their held-out paraphrases, in sentences."""

    def __init__(self, config: ExtractorConfig) -> None:
        pass

    def identity(self) -> Mapping[str, str | float]:
        """Name, version and everything else that the triples depend on."""
        return {"name": "patterns", "version": "1"}

    def extract(self, sentences: Sequence[str], relations: Sequence[Relation]) -> list[Triple]:
        """A triple for each pair of spans that a statement of a relation joins; its score is 1."""
        found = []
        for sentence in sentences:
            places = spans(sentence)
            for relation in relations:
                kinds = kinds_of(relation)
                pairs = [
                    (x, y) for x in places for y in places if x.kind == "name" and y.kind in kinds
                ]
                found_pairs = {
                    (x.text, y.text): None for x, y in pairs if _states(sentence, x, y, relation)
                }
                for subject, value in found_pairs:
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


def _states(sentence: str, x: Span, y: Span, relation: Relation) -> bool:
    """Whether the sentence has a statement of the relation with the two spans in it."""
    if x.end > y.start or re.match(r"['\u2019]s?\b|\s+of\b|-", sentence[y.end :]):
        return False
    before, between = sentence[: x.start], sentence[x.end : y.start]
    return any(
        middle.fullmatch(between) and start.search(before)
        for start, middle in _patterns((*relation.statements, *relation.held_out))
    )


@cache
def _patterns(templates: tuple[str, ...]) -> tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]:
    """For each template, the patterns of the text before the subject and of the text between
    subject and object.

    The statement has to begin the sentence or a clause: after "the son of" it would be about
    another subject. An article may precede either name, and `is` may be `was`.
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
    """A pattern for a text in any spacing and with either apostrophe, `is` or `was`."""
    words = re.escape(text).replace(r"\ ", r"\s+").replace("'", "['\u2019]")
    return re.sub(r"\bis\b", "(?:is|was)", words)
