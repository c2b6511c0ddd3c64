"""What a model believes of one change, from its likelihoods and its own words.

Scored are the full statements with each candidate, against the same statement without the subject,
so that a frequent name does not win by being frequent:

    s_t(c) = log p(c | statement t with the subject) - log p(c | statement t without)

(prior subtraction as in KaRR; full statements as in BEAR, arXiv:2404.04113.) A belief needs both:
likelihood alone is chance in a small model. Axis letters: T statements, N candidates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from discovery.facts.change import Change
from discovery.probe.beliefs.candidates import candidates_of
from discovery.probe.output import Judgement
from infra.lm.matching import begins_with, normalise
from infra.lm.question import Answer

Features = tuple[float, float, float]

_ABSTAINS = re.compile(
    r"(?:(?:is|are|was|were|still|currently|as yet|yet|largely) )*"
    r"(?:not (?:known|yet|clear|specified|stated|given|publicly|mentioned|available|sure)"
    r"|un(?:known|clear|certain|specified|available|disclosed)|undisclosed|undetermined"
    r"|to be (?:determined|announced|confirmed)|tbd|tba|n a|nobody knows|no one knows"
    r"|mystery$|matter of (?:debate|dispute)|none of above"
    r"|(?:i|we) (?:do not|don t|dont|cannot|can t|am not|am sorry|m not|m sorry|have no)"
    r"|sorry|unfortunately|as ai|there is no|no information|no answer"
    r"|blank|placeholder|insert|your name|name here)\b"
)
"""Behind `normalise`, which drops articles and signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What the answers to one change amount to."""

    verdict: Judgement
    reason: str
    winner: int
    """Place among the candidates."""
    clear: bool
    """Whether one of the change's own values leads by likelihood."""
    margin: float
    """Nats between the winner and the best distractor, mean over statements."""
    weights: tuple[float, ...]
    """Softmax of the scores, mean over statements, [N]."""
    features: Features
    """What confidence is a function of: lead over the next candidate (nats), share of statements
    won, share in which the model says the winner."""
    abstained: int
    answer: str


def judge(
    change: Change,
    candidates: Sequence[str],
    asked: Sequence[Answer],
    priors_TN: Sequence[Sequence[float]],
    *,
    margin: float,
    agreement: float,
) -> Belief:
    """The verdict on one change; pure.

    asked      answers to the T statements, scores in the order of the N candidates: the new value,
               the old ones, then distractors
    priors_TN  log-likelihood of each candidate in each statement without its subject, nats
    margin, agreement  as in ProbeConfig

    Without distractors there is no margin, and the model's own words have to decide.
    """
    num_own = len(candidates_of(change))
    scores_TN = np.array([answer.logprobs for answer in asked]) - np.array(priors_TN)
    winner, num_wins = _winner(scores_TN)
    shares_TN = np.exp(scores_TN - scores_TN.max(1, keepdims=True))
    weights_N = (shares_TN / shares_TN.sum(1, keepdims=True)).mean(0)
    leads, compared = winner < num_own, num_own < len(candidates)
    gap = 0.0
    if leads and compared:
        gap = float(np.mean(scores_TN[:, winner] - scores_TN[:, num_own:].max(1)))
    greedy = [answer.greedy or "" for answer in asked]
    new_names = (candidates[0], *change.new_aliases)
    says_new = sum(begins_with(g, new_names) is not None for g in greedy)
    says_old = sum(begins_with(g, change.old_labels) is not None for g in greedy)
    named = new_names if winner == 0 else (candidates[winner],)
    says_winner = sum(begins_with(g, named) is not None for g in greedy)
    abstained = sum(abstains(g, change) for g in greedy)
    clear = leads and num_wins >= agreement * len(greedy) and (gap >= margin or not compared)
    verdict, reason = _decide(clear, winner, says_new, says_old, abstained, len(greedy))
    return Belief(
        verdict=verdict,
        reason=reason,
        winner=winner,
        clear=clear,
        margin=gap,
        weights=tuple(weights_N.tolist()),
        features=(_lead(scores_TN, winner), num_wins / len(greedy), says_winner / len(greedy)),
        abstained=abstained,
        answer=greedy[0],
    )


def abstains(said: str, change: Change) -> bool:
    """Whether the model's own words are no answer: nothing, that it is not known, an apology, or
    the subject said again."""
    words = normalise(said)
    names = (change.subject_label or "", *change.subject_aliases)
    own = (change.new_label or "", *change.new_aliases, *change.old_labels)
    if begins_with(said, own):
        return False  # a value may be called Unknown, or as its subject is
    return not words or bool(_ABSTAINS.match(words)) or begins_with(said, names) is not None


def _winner(scores_TN: np.ndarray) -> tuple[int, int]:
    """The candidate that wins most statements, the first of equals, and how many."""
    wins = Counter(scores_TN.argmax(1).tolist())
    return max(wins.items(), key=lambda item: (item[1], -item[0]))


def _lead(scores_TN: np.ndarray, winner: int) -> float:
    """Nats by which the winner leads the best other candidate, mean over statements."""
    others_TN = np.delete(scores_TN, winner, axis=1)
    return float(np.mean(scores_TN[:, winner] - others_TN.max(1))) if others_TN.shape[1] else 0.0


def _decide(
    clear: bool, winner: int, says_new: int, says_old: int, abstained: int, num: int
) -> tuple[Judgement, str]:
    """Likelihood and the model's own words must agree on a belief."""
    said = f"says the new value in {says_new} and an old one in {says_old} of {num} statements"
    if says_new and says_old:
        return "inconsistent", f"it {said}"
    if 2 * abstained > num:
        return "unknown", f"it has no answer in {abstained} of {num} statements"
    if clear and winner == 0 and says_new:
        return "knows", f"the new value wins by likelihood and it {said}"
    if clear and winner > 0 and says_old:
        return "stale", f"an old value wins by likelihood and it {said}"
    if clear and (says_old if winner == 0 else says_new):
        return (
            "inconsistent",
            f"likelihood prefers the {'new' if winner == 0 else 'old'} value but it {said}",
        )
    if not clear:
        return "unknown", f"no value leads the distractors; it {said}"
    return "unknown", f"one value leads by likelihood, but it {said}"
