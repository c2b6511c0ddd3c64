"""Extraction by a language model that may only choose: which two spans does a sentence relate?

For every relation and every ordered pair of spans (x, y) of a sentence S the relation's statements
t(x, y) are formed, and scored by how much likelier the sentence makes them:

    gain(t) = log p(t(x, y) | S, cue) - log p(t(x, y) | cue)

Any statement about x and y gains from S, for it repeats their names. So the gain of a statement
that relates them in no way, n = "x is mentioned together with y", is taken off:

    score = mean over t of gain(t) - gain(n)

in nats. The best pair of each relation is a triple where its score is above the margin. Nothing is
generated: what the model can answer is the pairs, and `none`.
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

# What needs torch is imported where a model runs: every worker that parses knows of extractors.

CUE = "In other words,"
NEUTRAL = f"{SUBJECT} is mentioned together with {OBJECT}."
MAX_SPANS = 6
"""Spans of a sentence that are paired, the first; a sentence with more is a list."""
SENTENCES_A_BATCH = 8

Pair = tuple[str, str]


class ModelExtractor:
    """A causal language model, put to every pair."""

    def __init__(self, config: ExtractorConfig) -> None:
        from infra.models.loading import EMBEDDED, dtype_name, locate

        self.config = config
        self.ref = locate(config.model or EMBEDDED)
        self.dtype = dtype_name(config.dtype, config.device)

    def identity(self) -> Mapping[str, str | float]:
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
    """Of each sentence, by relation that has any pair in it, the score of every pair in nats."""
    from infra.lm.question import Question

    asked: list[Question] = []
    forms = [list(_statements(sentence, relations)) for sentence in sentences]
    for number, (sentence, said) in enumerate(zip(sentences, forms, strict=True)):
        texts = tuple(dict.fromkeys(text for _, _, text in said))
        if texts:
            asked.append(
                Question(id=f"{number}/with", prompt=f"{sentence} {CUE}", candidates=texts)
            )
            asked.append(Question(id=f"{number}/without", prompt=CUE, candidates=texts))
    answers = {answer.id: answer for answer in model.ask(asked)}
    questions = {question.id: question for question in asked}
    found: list[dict[str, dict[Pair, float]]] = []
    for number, said in enumerate(forms):
        gains: dict[str, float] = {}
        if said:
            told, untold = answers[f"{number}/with"], answers[f"{number}/without"]
            texts = questions[f"{number}/with"].candidates
            differences = zip(told.logprobs, untold.logprobs, strict=True)
            gains = dict(zip(texts, (a - b for a, b in differences), strict=True))
        scores: dict[str, dict[Pair, list[float]]] = {}
        for relation, pair, text in said:
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
    """Relation, pair and statement of all that may be chosen, and of each pair the neutral one."""
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
    """A statement as it goes on behind a comma."""
    before, _, rest = template.partition(SUBJECT)
    between, _, after = rest.partition(OBJECT)
    return before[:1].lower() + before[1:] + pair[0] + between + pair[1] + after


@cache
def _loaded(ref: ModelRef, dtype: str, device: str) -> LanguageModel:
    """The model of a digest, once a process."""
    import torch

    from infra.lm.language_model import LanguageModel
    from infra.models.loading import load

    model, tokenizer = load(ref.path, dtype=getattr(torch, dtype), device=device)
    return LanguageModel(model, tokenizer, plain_attention=True)
