"""What a model is worth after all edits are in, against the unedited one: CounterFact's measures.

Every number is first a mean within each fact, then over facts (protocol `when=after-all`).

ES                the edit's own prompt: the new target is likelier than the true one
PS                the same over held-out paraphrases
NS                prompts of the same relation about others: their own object is the likelier one
S                 harmonic mean of ES, PS and NS
exact             the greedy answer to the prompt begins with the new target
paraphrase_exact  the same over paraphrases
kept              neighbours whose first greedy tokens are all the unedited model's
leak              neighbours whose greedy answer begins with the new target
perplexity        on held-out text, and over the unedited model's

Likelier means a smaller negative log-likelihood a token, as in MEMIT's own evaluation.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.counterfact import Record
from infra.lm import Answer, LanguageModel, Question
from infra.text import begins_with
from pipeline.metrics import Metric, wilson

Answers = Mapping[tuple[int, int], Answer]
"""By fact, and place among its prompts."""
Seen = dict[str, list[list[bool]]]
"""By measure and fact: what holds of each of its prompts."""

ASKED = "prompt=raw/when=after-all"
PROTOCOLS = {
    "ES": f"decode=tf/score=pref/{ASKED}",
    "PS": f"decode=tf/score=pref/{ASKED}",
    "NS": f"decode=tf/score=pref/{ASKED}",
    "exact": f"decode=greedy/score=alias/{ASKED}",
    "paraphrase_exact": f"decode=greedy/score=alias/{ASKED}",
    "kept": f"decode=greedy/score=tokens/{ASKED}",
    "leak": f"decode=greedy/score=alias/{ASKED}",
}
"""Of every share there is, and the order they are printed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What one model made of the questions."""

    items: Mapping[str, tuple[float, ...]]
    """For each measure its mean within each fact, in the order of the facts; NaN where a fact has
    no question of the kind."""
    num_questions: Mapping[str, int]
    answers: tuple[str, ...]
    """Greedy answer to each fact's own prompt."""
    perplexity: float
    perplexity_ratio: float
    """Over the unedited model's."""
    seconds: float
    """What it took to ask."""

    def share(self, name: str) -> Metric:
        """Mean over facts, with its Wilson interval."""
        return share_of_facts(self.items[name], self.num_questions[name], PROTOCOLS[name])

    @property
    def s(self) -> float:
        """Harmonic mean of ES, PS and NS."""
        parts = [self.share(name).value for name in ("ES", "PS", "NS")]
        return 3 / sum(1 / part for part in parts) if all(parts) else 0.0

    def as_json(self) -> dict[str, Any]:
        """All of it, NaN as null."""
        shares = {name: self.share(name) for name in self.items}
        return {
            **{name: [share.value, share.low, share.high] for name, share in shares.items()},
            "S": self.s,
            "perplexity": self.perplexity,
            "perplexity_ratio": self.perplexity_ratio,
            "score_seconds": self.seconds,
            "items": {
                name: [None if math.isnan(v) else v for v in values]
                for name, values in self.items.items()
            },
            "answers": self.answers,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two means on the same facts, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class _Heard:
    """What one model said."""

    forms: Answers
    """To prompts (place 0) and paraphrases."""
    near: Answers
    """About neighbours."""
    perplexity: float
    seconds: float


class Scorer:
    """Puts the same questions to any number of models; made with the unedited one.

    Every model gets the same rows in the same batches, and neighbours apart from the rest, so that
    rounding moves as few of their answers as can be.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        records: Sequence[Record],
        texts: Sequence[str],
        *,
        num_neighbours: int = 3,
        num_paraphrases: int = 2,
        num_kept_tokens: int = 6,
        max_new_tokens: int = 16,
        max_rows: int = 64,
    ) -> None:
        self.tokenizer = tokenizer
        self.records = tuple(records)
        self.texts = tuple(texts)
        self.num_kept_tokens = num_kept_tokens
        self.max_new_tokens = max_new_tokens
        self.max_rows = max_rows
        self.dtype = model.dtype
        self.forms = [
            (record.text, *record.paraphrases[:num_paraphrases]) for record in self.records
        ]
        self.neighbours = choose_neighbours(self.records, num_neighbours)
        self._unedited = self._hear(model)
        self.base = self._scores(self._unedited)
        """Scores of the unedited model."""

    def score(self, model: Any) -> Scores:
        """Scores of a model as it is now. Raises ValueError where its dtype is not the base's."""
        if model.dtype != self.dtype:
            raise ValueError(
                f"the model is {model.dtype}, the unedited one was {self.dtype}: rounding alone "
                "would change answers. Load both in one dtype."
            )
        return self._scores(self._hear(model))

    def _hear(self, model: Any) -> _Heard:
        started = time.perf_counter()
        lm = LanguageModel(model, self.tokenizer, max_rows=self.max_rows)
        forms = self._ask(lm, self.forms, 0)
        near = self._ask(lm, self.neighbours, self.num_kept_tokens)
        nll, count = lm.nll(self.texts)
        perplexity = math.exp(nll / count) if count else 1.0
        return _Heard(forms, near, perplexity, time.perf_counter() - started)

    def _scores(self, heard: _Heard) -> Scores:
        seen = self._about_forms(heard.forms) | self._about_neighbours(heard.near)
        return Scores(
            items={name: tuple(map(_mean, seen[name])) for name in PROTOCOLS},
            num_questions={name: sum(map(len, seen[name])) for name in PROTOCOLS},
            answers=tuple(heard.forms[i, 0].greedy or "" for i in range(len(self.records))),
            perplexity=heard.perplexity,
            perplexity_ratio=heard.perplexity / self._unedited.perplexity,
            seconds=heard.seconds,
        )

    def _ask(
        self, lm: LanguageModel, prompts: Sequence[Sequence[str]], min_new_tokens: int
    ) -> Answers:
        """Answers by (fact, place among its prompts)."""
        places = [(i, k) for i, own in enumerate(prompts) for k in range(len(own))]
        questions = [
            Question(
                id=f"{self.records[i].case_id}/{k}",
                prompt=prompts[i][k],
                candidates=(self.records[i].target_new, self.records[i].target_true),
                greedy=True,
                until=(self.records[i].target_new,),
                min_new_tokens=min_new_tokens,
            )
            for i, k in places
        ]
        answers = lm.ask(questions, max_new_tokens=self.max_new_tokens)
        return dict(zip(places, answers, strict=True))

    def _about_forms(self, answers: Answers) -> Seen:
        """Of each fact's prompt, and of its paraphrases."""
        seen: Seen = {"ES": [], "PS": [], "exact": [], "paraphrase_exact": []}
        for i, own in enumerate(self.forms):
            given = [answers[i, k] for k in range(len(own))]
            prefers = [prefers_new(answer) for answer in given]
            says = [self._says_new(i, answer) for answer in given]
            seen["ES"].append(prefers[:1])
            seen["PS"].append(prefers[1:])
            seen["exact"].append(says[:1])
            seen["paraphrase_exact"].append(says[1:])
        return seen

    def _about_neighbours(self, answers: Answers) -> Seen:
        """Of each fact's neighbours."""
        seen: Seen = {"NS": [], "kept": [], "leak": []}
        first = slice(self.num_kept_tokens)
        for i, own in enumerate(self.neighbours):
            now = [answers[i, k] for k in range(len(own))]
            before = [self._unedited.near[i, k] for k in range(len(own))]
            pairs = zip(now, before, strict=True)
            seen["NS"].append([prefers_true(answer) for answer in now])
            seen["kept"].append([a.greedy_ids[first] == b.greedy_ids[first] for a, b in pairs])
            seen["leak"].append([self._says_new(i, answer) for answer in now])
        return seen

    def _says_new(self, fact: int, answer: Answer) -> bool:
        return begins_with(answer.greedy or "", [self.records[fact].target_new]) is not None


def choose_neighbours(records: Sequence[Record], num: int) -> list[tuple[str, ...]]:
    """The first `num` neighbours of each record that name no subject that is edited itself."""
    edited = {
        record.subject: re.compile(rf"(?<!\w){re.escape(record.subject)}(?!\w)")
        for record in records
    }

    def is_free(prompt: str) -> bool:
        return not any(s in prompt and whole.search(prompt) for s, whole in edited.items())

    return [tuple(filter(is_free, record.neighbours))[:num] for record in records]


def prefers_new(answer: Answer) -> bool:
    """Whether the first candidate has the smaller negative log-likelihood a token."""
    new, true = _per_token(answer)
    return new > true


def prefers_true(answer: Answer) -> bool:
    """Whether the second has; a tie is neither's."""
    new, true = _per_token(answer)
    return true > new


def share_of_facts(values: Sequence[float], num_questions: int, protocol: str) -> Metric:
    """Mean over facts of shares within each, NaN left out, with a Wilson interval.

    The interval's n is the number of independent questions with the variance that is seen
    between facts, p(1 - p) / s.e.²; no less than the facts, no more than the questions.
    """
    kept = np.array([v for v in values if not math.isnan(v)])
    if not len(kept):
        return Metric(math.nan, 0, protocol)
    p, num_facts = float(kept.mean()), len(kept)
    variance = float(kept.var(ddof=1)) / num_facts if num_facts > 1 else 0.0
    effective = round(p * (1 - p) / variance) if variance else num_facts
    low, high = wilson(p, min(max(effective, num_facts), max(num_questions, num_facts)))
    return Metric(p, num_facts, protocol, low, high)


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], num: int = 10_000, seed: int = 0
) -> Difference:
    """mean(a) - mean(b) over facts, with the 95 % percentile interval of `num` resamples of facts.

    Facts where either is NaN are left out. Our records have a subject each, so resampling facts is
    resampling subjects.
    """
    differences = np.array(a, dtype=float) - np.array(b, dtype=float)
    differences = differences[~np.isnan(differences)]
    n = len(differences)
    if not n:
        return Difference(math.nan, math.nan, math.nan, 0)
    rng = np.random.default_rng(seed)
    means = np.array([differences[rng.integers(n, size=n)].mean() for _ in range(num)])
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high), n)


def _per_token(answer: Answer) -> tuple[float, ...]:
    pairs = zip(answer.logprobs, answer.num_tokens, strict=True)
    return tuple(total / count for total, count in pairs)


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else math.nan
