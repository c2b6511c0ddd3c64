"""Free text about an edited subject: does it repeat itself, and does it agree with the edit?
(GE and RS of ROME, arXiv:2202.05262.)

fluency      GE = ½ Σ_m w_m H_m over m = 2, 3 with w = (2/3, 4/3): entropy in bits of the m-grams of
             words, H_m = -Σ f log2 f; low where the model repeats itself. Papers print 100 GE.
consistency  RS = cosine of the TF-IDF vectors of all free text about a fact, and of all its
             references: texts about other subjects that have the target as their object

The authors sample from the five likeliest tokens, and score prompt and continuation together, 100
tokens in all. Here the continuation alone is scored, 100 tokens with greedy decoding. It is the
same in every run but more repetitive, so that the numbers are lower than the authors'. Compare them
only with the base model of the same run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import Measured, Metric, measured

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

NUM_TOKENS = 100
"""Tokens of each free text."""
WEIGHTS = {2: 2 / 3, 3: 4 / 3}
"""Weights w_m of the bigrams (m = 2) and of the trigrams (m = 3)."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
"""A word, or a punctuation mark."""
_TERM = re.compile(r"\w\w+")
"""A word of two letters or more, which scikit-learn's TF-IDF counts by default."""


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """The first `num_essays` prompts for free text of every case. Each is continued for exactly 100
    tokens; newlines and end-of-text tokens do not end it."""
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
    """Fluency of every fact with a free text, consistency of those that also have references."""
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
    likeness = Likeness.of({text for case in answer_set.cases.cases for text in case.references})
    scores["consistency"] = measured(
        (
            (case.id, likeness(" ".join(written[case.id]), " ".join(case.references)))
            for case in answer_set.cases.cases
            if case.references and written[case.id]
        ),
        answer_set.protocol("greedy", "tf-idf", f"tokens={NUM_TOKENS}"),
        is_share=False,
    )
    return scores


def ngram_entropy(text: str) -> float:
    """GE of a text, ½ Σ_m w_m H_m, in bits. 0 for a text of fewer than two words."""
    words = _TOKEN.findall(text)
    return sum(w * entropy(words, m) for m, w in WEIGHTS.items()) / len(WEIGHTS)


def entropy(words: Sequence[str], m: int) -> float:
    """H_m = -Σ f log2 f in bits, over the relative frequencies f of the m-grams of `words`. 0 where
    there are fewer than m words."""
    grams = Counter(zip(*(words[i:] for i in range(m)), strict=False))
    counts = np.array(list(grams.values()), dtype=float)
    f = counts / counts.sum()
    return float(-(f * np.log2(f)).sum()) + 0.0


@dataclass(frozen=True)
class Likeness:
    """Cosine similarity of the TF-IDF vectors of two texts.

    TF-IDF has the defaults of scikit-learn, as the authors use it: a word t of two letters or more
    that occurs in df(t) of n texts has idf(t) = 1 + ln((1 + n) / (1 + df(t))).
    """

    tfidf: TfidfVectorizer | None
    """The fitted vectorizer; None where no text has a word."""

    @classmethod
    def of(cls, texts: Collection[str]) -> Likeness:
        """A similarity whose vocabulary and document frequencies are those of `texts`."""
        if not any(_TERM.search(text) for text in texts):
            return cls(None)
        from sklearn.feature_extraction.text import TfidfVectorizer  # the import takes a second

        return cls(TfidfVectorizer().fit(texts))

    def __call__(self, one: str, two: str) -> float:
        """Cosine similarity in 0..1. 0 where one of the texts has no word of the vocabulary."""
        if self.tfidf is None:
            return 0.0
        a, b = self.tfidf.transform([one, two]).toarray()  # of norm 1, or zeros
        return float(a @ b)
