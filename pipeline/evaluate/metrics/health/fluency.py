"""Free text about an edited subject: is it still varied, and does it agree with the edit?
(GE and RS of ROME, arXiv:2202.05262.)

fluency      GE = ½ Σ_m w_m H_m over m = 2, 3 with w = (2/3, 4/3): entropy in bits of the m-grams of
             words, H_m = -Σ f log2 f; low where the model repeats itself. Tables print 100 GE.
consistency  RS = cosine of the TF-IDF vectors of all that was written of a fact, and of all its
             references: texts on things of which the target is true

The authors draw from the five likeliest tokens, and count the prompt in with what is written, 100
tokens together. Here it is 100 tokens behind the prompt, greedy, and the prompt is left out: the
same every time, but repetitive, so lower than theirs. Compare with the base of the same run only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import Measured, Metric, measured

NUM_TOKENS = 100
WEIGHTS = {2: 2 / 3, 3: 4 / 3}
"""Of bigrams and of trigrams."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
"""A word, or a mark of punctuation."""
_TERM = re.compile(r"\w\w+")
"""A word of two letters or more: what TF-IDF counts."""


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """The first essays of every case, each of 100 tokens whatever ends it comes by."""
    for case in cases.cases:
        for k, prompt in enumerate(case.essays[: config.num_essays]):
            yield Question(
                id=question_id("essay", case.id, k),
                prompt=prompt,
                greedy=True,
                until=(),
                min_new_tokens=NUM_TOKENS,
                max_new_tokens=NUM_TOKENS,
                past_ends=True,
            )


def score(answer_set: AnswerSet) -> Scores:
    """Fluency of every fact that was written about, consistency of those that have references."""
    written = {
        case.id: [
            answer.greedy or ""
            for k in range(len(case.essays))
            if (answer := answer_set.of("essay", case, k))
        ]
        for case in answer_set.cases.cases
    }
    scores: dict[str, Measured | Metric] = {
        "fluency": measured(
            (
                (case_id, ngram_entropy(text))
                for case_id, texts in written.items()
                for text in texts
            ),
            answer_set.protocol("greedy", "ngram-entropy", f"tokens={NUM_TOKENS}"),
            is_share=False,
        )
    }
    idf = inverse_frequencies({text for case in answer_set.cases.cases for text in case.references})
    scores["consistency"] = measured(
        (
            (case.id, similarity(" ".join(written[case.id]), " ".join(case.references), idf))
            for case in answer_set.cases.cases
            if case.references and written[case.id]
        ),
        answer_set.protocol("greedy", "tf-idf", f"tokens={NUM_TOKENS}"),
        is_share=False,
    )
    return scores


def ngram_entropy(text: str) -> float:
    """½ Σ_m w_m H_m in bits; 0 of a text of less than two words."""
    words = _TOKEN.findall(text)
    return sum(w * entropy(words, m) for m, w in WEIGHTS.items()) / len(WEIGHTS)


def entropy(words: Sequence[str], m: int) -> float:
    """-Σ f log2 f over the relative frequencies f of m words in a row; 0 of none."""
    grams = Counter(zip(*(words[i:] for i in range(m)), strict=False))
    counts = np.array(list(grams.values()), dtype=float)
    f = counts / counts.sum()
    return float(-(f * np.log2(f)).sum()) + 0.0


def inverse_frequencies(texts: Iterable[str]) -> Mapping[str, float]:
    """idf(t) = 1 + ln((1 + n) / (1 + df(t))) of every term of n texts, as scikit-learn smooths it
    (the authors' choice)."""
    documents = [set(terms(text)) for text in texts]
    found = Counter(term for document in documents for term in document)
    return {t: 1 + math.log((1 + len(documents)) / (1 + df)) for t, df in found.items()}


def similarity(one: str, two: str, idf: Mapping[str, float]) -> float:
    """Cosine of tf·idf of two texts over the terms that have an idf; 0 where a text has none."""
    a, b = (
        {term: n * idf[term] for term, n in Counter(terms(text)).items() if term in idf}
        for text in (one, two)
    )
    norm = math.hypot(*a.values()) * math.hypot(*b.values())
    return sum(weight * b.get(term, 0.0) for term, weight in a.items()) / norm if norm else 0.0


def terms(text: str) -> list[str]:
    """Lower-case words of two letters or more."""
    return _TERM.findall(text.lower())
