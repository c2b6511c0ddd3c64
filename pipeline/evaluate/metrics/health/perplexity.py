"""How likely general text is after editing.

perplexity  exp of the mean negative log-likelihood a token, over windows of equal length
ME-PPL      mean of the perplexities of single sentences (arXiv:2406.11263); outliers dominate it
kl          KL divergence from the unedited model: mean over positions of Σ p0 log(p0/p), in nats a
            token
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from infra.lm.question import Question
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores
from pipeline.evaluate.scoring.metric import Measured, Metric


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """No questions: this family scores texts."""
    return ()


def score(answer_set: AnswerSet) -> Scores:
    """Perplexity and kl of the scored windows, ME-PPL of the scored sentences."""
    windows = {key: text for key, text in answer_set.texts.items() if key.startswith("window/")}
    sentences = {key: text for key, text in answer_set.texts.items() if key.startswith("sentence/")}
    scores: dict[str, Measured | Metric] = {}
    if windows:
        scores["perplexity"] = Measured(
            items={key: text.nll / text.num_tokens for key, text in windows.items()},
            protocol=answer_set.protocol("tf", "nll", "windows"),
            num_questions=len(windows),
            is_share=False,
            combine=exp,
        )
    drifts = {
        key: text.kl / text.num_tokens for key, text in windows.items() if text.kl is not None
    }
    if drifts:
        scores["kl"] = Measured(
            items=drifts,
            protocol=answer_set.protocol("tf", "kl", "windows"),
            num_questions=len(drifts),
            is_share=False,
        )
    if sentences:
        scores["ME-PPL"] = Measured(
            items={key: exp(t.nll / t.num_tokens) for key, t in sentences.items()},
            protocol=answer_set.protocol("tf", "nll", "sentences"),
            num_questions=len(sentences),
            is_share=False,
        )
    return scores


def exp(nats: float) -> float:
    """e^nats, and e^100 where nats is greater, so that means over a collapsed model stay finite."""
    return math.exp(min(nats, 100.0))
