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
WEIGHTS = {2: 2 / 3, 3: 4 / 3}
"""Of bigrams and of trigrams."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
"""A word, or a mark of punctuation."""
_TERM = re.compile(r"\w\w+")
"""A word of two letters or more: what scikit-learn's TF-IDF counts."""


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
    """½ Σ_m w_m H_m in bits; 0 of a text of less than two words."""
    words = _TOKEN.findall(text)
    return sum(w * entropy(words, m) for m, w in WEIGHTS.items()) / len(WEIGHTS)


def entropy(words: Sequence[str], m: int) -> float:
    """-Σ f log2 f over the relative frequencies f of m words in a row; 0 of none."""
    grams = Counter(zip(*(words[i:] for i in range(m)), strict=False))
    counts = np.array(list(grams.values()), dtype=float)
    f = counts / counts.sum()
    return float(-(f * np.log2(f)).sum()) + 0.0


@dataclass(frozen=True)
class Likeness:
    """Cosine of the TF-IDF vectors of two texts, as scikit-learn makes them by default (the
    authors' choice): idf(t) = 1 + ln((1 + n) / (1 + df(t))) of every word t of two letters or more
    that is in df(t) of n texts."""

    tfidf: TfidfVectorizer | None
    """None of texts without a word."""

    @classmethod
    def of(cls, texts: Collection[str]) -> Likeness:
        """With the words of these texts."""
        if not any(_TERM.search(text) for text in texts):
            return cls(None)
        from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second

        return cls(TfidfVectorizer().fit(texts))

    def __call__(self, one: str, two: str) -> float:
        """0 where a text has none of the words."""
        if self.tfidf is None:
            return 0.0
        a, b = self.tfidf.transform([one, two]).toarray()  # of length 1, or of zeros
        return float(a @ b)
