"""Extraction by a language model: which two spans of a sentence does a relation hold between?

For every relation and every ordered pair of spans (x, y) of a sentence S, the statements t(x, y) of
the relation are scored by how much more likely the sentence makes them:

    gain(t) = log p(t(x, y) | S, cue) - log p(t(x, y) | cue)

Any statement about x and y becomes more likely after S, since it repeats their names. Therefore the
gain of a statement of no relation, n = "x is mentioned together with y", is subtracted:

    score = mean over t of gain(t) - gain(n)

in nats. The best pair of each relation becomes a triple if its score is above the margin. The model
generates nothing: it can only choose a pair of spans, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from discovery.extractors.sentences import spans
from discovery.extractors.triple import ExtractorConfig, Triple, kinds_of
from discovery.relations.relation import OBJECT, SUBJECT, Relation

if TYPE_CHECKING:
    from infra.lm.language_model import LanguageModel
    from infra.models.loading import ModelRef

# Torch is imported only where a model runs, since every worker that parses imports extractors.

CUE = "In other words,"
"""Text between a sentence and the statements that are scored."""
NEUTRAL = f"{SUBJECT} is mentioned together with {OBJECT}."
"""The statement of no relation, n above."""
MAX_SPANS = 6
"""Only so many spans of a sentence are paired, the first: a sentence with more is a list."""
SENTENCES_A_BATCH = 8

Pair = tuple[str, str]
"""Texts of the spans of subject and object."""


class ModelExtractor:
    """Scores every pair of spans with a causal language model."""

    def __init__(self, config: ExtractorConfig) -> None:
        from infra.models.embedded import EMBEDDED
        from infra.models.loading import dtype_name, locate

        self.config = config
        self.ref = locate(config.model or EMBEDDED)
        self.dtype = dtype_name(config.dtype, config.device)

    def identity(self) -> Mapping[str, str | float]:
        """Name, version and everything else that the triples depend on."""
        return {
            "name": "model",
            "version": "1",
            "model": self.ref.name,
            "digest": self.ref.digest,
            "dtype": self.dtype,
            "margin": self.config.margin,
        }

    def extract(self, sentences: Sequence[str], relations: Sequence[Relation]) -> list[Triple]:
        """At most one triple for each sentence and relation, with its score in nats."""
        model = _loaded(self.ref, self.dtype, self.config.device)
        found = []
        for start in range(0, len(sentences), SENTENCES_A_BATCH):
            batch = sentences[start : start + SENTENCES_A_BATCH]
            for sentence, scores in zip(batch, score(model, batch, relations), strict=True):
                for relation, by_pair in scores.items():
                    pair = max(by_pair, key=lambda key: (by_pair[key], key))
                    if by_pair[pair] > self.config.margin:
                        found.append(
                            Triple(
                                subject=pair[0],
                                relation=relation,
                                object=pair[1],
                                sentence=sentence,
                                score=by_pair[pair],
                            )
                        )
        return found


def score(
    model: LanguageModel, sentences: Sequence[str], relations: Sequence[Relation]
) -> list[dict[str, dict[Pair, float]]]:
    """For each sentence, by relation and pair, the score in nats. A relation without any pair in a
    sentence is missing."""
    from infra.lm.question import Question

    asked: list[Question] = []
    forms = [list(_statements(sentence, relations)) for sentence in sentences]
    for number, (sentence, statements) in enumerate(zip(sentences, forms, strict=True)):
        texts = tuple(dict.fromkeys(text for _, _, text in statements))
        if texts:
            asked.append(
                Question(id=f"{number}/with", prompt=f"{sentence} {CUE}", candidates=texts)
            )
            asked.append(Question(id=f"{number}/without", prompt=CUE, candidates=texts))
    answers = {answer.id: answer for answer in model.ask(asked)}
    questions = {question.id: question for question in asked}
    found: list[dict[str, dict[Pair, float]]] = []
    for number, statements in enumerate(forms):
        gains: dict[str, float] = {}
        if statements:
            with_it, without = answers[f"{number}/with"], answers[f"{number}/without"]
            texts = questions[f"{number}/with"].candidates
            differences = zip(with_it.logprobs, without.logprobs, strict=True)
            gains = dict(zip(texts, (a - b for a, b in differences), strict=True))
        scores: dict[str, dict[Pair, list[float]]] = {}
        for relation, pair, text in statements:
            if relation is not None:
                neutral = gains[_fill(NEUTRAL, pair)]
                scores.setdefault(relation, {}).setdefault(pair, []).append(gains[text] - neutral)
        found.append(
            {
                relation: {pair: sum(each) / len(each) for pair, each in by_pair.items()}
                for relation, by_pair in scores.items()
            }
        )
    return found


def _statements(
    sentence: str, relations: Sequence[Relation]
) -> Iterator[tuple[str | None, Pair, str]]:
    """Relation, pair and text of every statement of every pair; with relation None, the neutral
    statement of every pair."""
    places = spans(sentence)
    neutral: set[Pair] = set()
    for relation in relations:
        kinds = kinds_of(relation)
        subjects = list(dict.fromkeys(p.text for p in places if p.kind == "name"))[:MAX_SPANS]
        objects = list(dict.fromkeys(p.text for p in places if p.kind in kinds))[:MAX_SPANS]
        for pair in ((x, y) for x in subjects for y in objects if x != y):
            for statement in relation.statements:
                yield relation.id, pair, _fill(statement, pair)
            if pair not in neutral:
                neutral.add(pair)
                yield None, pair, _fill(NEUTRAL, pair)


def _fill(template: str, pair: Pair) -> str:
    """A statement with its pair, as it continues a sentence after a comma."""
    before, _, rest = template.partition(SUBJECT)
    between, _, after = rest.partition(OBJECT)
    return before[:1].lower() + before[1:] + pair[0] + between + pair[1] + after


@cache
def _loaded(ref: ModelRef, dtype: str, device: str) -> LanguageModel:
    """The model, loaded once in a process for each digest, dtype and device."""
    import torch

    from infra.lm.language_model import LanguageModel
    from infra.models.loading import load

    model, tokenizer = load(ref.path, dtype=getattr(torch, dtype), device=device)
    return LanguageModel(model, tokenizer, plain_attention=True)
