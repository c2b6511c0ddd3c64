"""Extractors: sentences -> triples of given relations, each with the sentence that states it.

An extractor cannot invent anything: subject and object are spans of the sentence, and the relation
is one of those given. It gets sentences that state something only (`triple.is_plain`), none that
deny, doubt or suppose it. To add one, write its file, its line in `EXTRACTORS`, and its name in
`ExtractorConfig`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from discovery.extractors.model import ModelExtractor
from discovery.extractors.patterns import PatternExtractor
from discovery.extractors.triple import ExtractorConfig, Triple
from discovery.relations.relation import Relation


class Extractor(Protocol):
    """What a source needs from an extractor."""

    def identity(self) -> Mapping[str, str | float]:
        """Name, version and everything else that its triples depend on besides the sentences and
        relations."""
        ...

    def extract(self, sentences: Sequence[str], relations: Sequence[Relation]) -> list[Triple]:
        """Triples in the order of the sentences. Those of one sentence do not depend on which other
        sentences are in the call."""
        ...


EXTRACTORS: dict[str, Callable[[ExtractorConfig], Extractor]] = {
    "patterns": PatternExtractor,
    "model": ModelExtractor,
}
"""By name in `ExtractorConfig`."""
