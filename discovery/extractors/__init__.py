"""Extractors: sentences -> triples of the relations that are asked for, each with its sentence.

An extractor only points: subject and object are spans of the sentence, and the relation is one of
those given, so that nothing can be invented. It is shown plain sentences only
(`triple.is_plain`): none that deny, doubt or suppose. To add one, write its file, its line in
`EXTRACTORS`, and its name in `ExtractorConfig`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from discovery.extractors.model import ModelExtractor
from discovery.extractors.patterns import PatternExtractor
from discovery.extractors.triple import ExtractorConfig, Triple
from discovery.relations.relation import Relation


class Extractor(Protocol):
    """What a source needs of an extractor."""

    def identity(self) -> Mapping[str, str | float]:
        """Name, version and all that its answers depend on besides sentences and relations."""
        ...

    def extract(self, sentences: Sequence[str], relations: Sequence[Relation]) -> list[Triple]:
        """Triples in the order of the sentences; the same, however sentences are put together."""
        ...


EXTRACTORS: dict[str, Callable[[ExtractorConfig], Extractor]] = {
    "patterns": PatternExtractor,
    "model": ModelExtractor,
}
