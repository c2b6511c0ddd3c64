"""What a model believes about one change, by its likelihoods and by its greedy answers.

Each candidate is scored in each statement with the subject, less its score in the same statement
without the subject, so that a frequent name does not win by being frequent:

    s_t(c) = log p(c | statement t with the subject) - log p(c | statement t without)

(prior subtraction as in KaRR; full statements as in BEAR, arXiv:2404.04113.) A belief counts only
where likelihoods and greedy answers agree: in a small model, likelihood alone is close to chance.
Axis letters: T statements, N candidates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from discovery.facts.change import Change
from discovery.probe.beliefs.candidates import candidates_of
from discovery.probe.output import Judgement
from infra.lm.matching import begins_with
from infra.lm.normal_form import normalise
from infra.lm.question import Answer

Features = tuple[float, float, float]
"""What confidence is computed from; see `Belief.features`."""

_ABSTAINS = re.compile(
    r"(?:(?:is|are|was|were|still|currently|as yet|yet|largely|a|an|the) )*"
    r"(?:not (?:known|yet|clear|specified|stated|given|publicly|mentioned|available|sure)"
    r"|un(?:known|clear|certain|specified|available|disclosed)|undisclosed|undetermined"
    r"|to be (?:determined|announced|confirmed)|tbd|tba|n a|nobody knows|no one knows"
    r"|mystery$|matter of (?:debate|dispute)|none of (?:the )?above"
    r"|(?:i|we) (?:do not|don t|dont|cannot|can t|am not|am sorry|m not|m sorry|have no)"
    r"|sorry|unfortunately|as (?:an )?ai|there is no|no information|no answer"
    r"|blank|placeholder|insert|your name|name here)\b"
)
"""Beginnings of answers that name nothing, in the form that `normalise` gives: in lower case,
without punctuation and without an article in front."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What the model's answers about one change show."""

    verdict: Judgement
    reason: str
    winner: int
    """Position of the preferred candidate among the candidates."""
    clear: bool
    """Whether one of the change's own values (not a distractor) wins by likelihood, in enough
    statements and by enough of a margin."""
    margin: float
    """Nats between the winner and the best distractor, mean over statements; 0 where a distractor
    wins or there is none."""
    weights: tuple[float, ...]
    """Softmax of the scores, mean over statements, [N]."""
    features: Features
    """What confidence is computed from: lead over the next candidate (nats), share of statements
    that the winner wins, share of statements to which the greedy answer is the winner."""
    abstained: int
    """Number of statements to which the greedy answer names nothing."""
    answer: str
    """Greedy answer to the first statement."""


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

    candidates  the new value, the old values, then distractors
    asked       answers to the T statements, with the N candidates scored in their order
    priors_TN   log-likelihood of each candidate in each statement without its subject, nats
    margin      as in `ProbeConfig`; does not apply where there are no distractors
    agreement   as in `ProbeConfig`
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
    others = candidates[num_own:]
    says_new = _number_of(greedy, new_names, (*change.old_labels, *others))
    says_old = _number_of(greedy, change.old_labels, (*new_names, *others))
    named = new_names if winner == 0 else (candidates[winner],)
    says_winner = _number_of(greedy, named, candidates)
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


def abstains(answer: str, change: Change) -> bool:
    """Whether a greedy answer names no value: it is empty, an apology, says that the value is not
    known, or repeats the subject."""
    words = normalise(answer)
    names = (change.subject_label or "", *change.subject_aliases)
    own = (change.new_label or "", *change.new_aliases, *change.old_labels)
    if begins_with(answer, own):
        return False  # a value may be called Unknown, or as its subject is
    is_blank = not any(map(str.isalnum, words))
    return is_blank or bool(_ABSTAINS.match(words)) or begins_with(answer, names) is not None


def _number_of(greedy: Iterable[str], names: Iterable[str], rivals: Iterable[str]) -> int:
    """The number of greedy answers that begin with one of the names, not with a longer rival."""
    return sum(begins_with(answer, names, rivals) is not None for answer in greedy)


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
    """The verdict and its reason. `knows` and `stale` need likelihoods and greedy answers to agree.

    clear               as in `Belief`
    says_new, says_old  greedy answers that are the new value, or an old one
    num                 number of statements
    """
    answers = f"says the new value in {says_new} and an old one in {says_old} of {num} statements"
    if says_new and says_old:
        return "inconsistent", f"it {answers}"
    if 2 * abstained > num:
        return "unknown", f"it has no answer in {abstained} of {num} statements"
    if clear and winner == 0 and says_new:
        return "knows", f"the new value wins by likelihood and it {answers}"
    if clear and winner > 0 and says_old:
        return "stale", f"an old value wins by likelihood and it {answers}"
    if clear and (says_old if winner == 0 else says_new):
        return (
            "inconsistent",
            f"likelihood prefers the {'new' if winner == 0 else 'old'} value but it {answers}",
        )
    if not clear:
        return "unknown", f"no value leads the distractors; it {answers}"
    return "unknown", f"one value leads by likelihood, but it {answers}"
