"""How far a belief can be relied on: a logistic function of what was heard, fitted in the same run.

Facts that did not change are asked too, in the relation's statements and in its held-out
paraphrases. What is estimated for each of them is

    P(the candidate named as belief also wins most paraphrases | lead, agreement, says it)

for a paraphrase was not asked when the verdict was made: a belief that depends on the wording is
none. Unchanged facts are taken because of them the world is no matter: what the model holds is not
in motion, neither in the sources nor by our edits. Fitted is a ridge-penalised logistic regression
on standardised features, scikit-learn's, float64 (Hastie, Tibshirani, Friedman, *Elements of
Statistical Learning*, sections 3.4.1 and 4.4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from discovery.probe.beliefs.belief import Belief
from infra.lm.question import Answer

MIN_FACTS = 24
"""Fewer say too little of how often a belief holds."""
MIN_EITHER = 3
"""So many must hold, and so many must not."""
RIDGE = 1.0
INTERCEPT = 1000.0
"""Value of the intercept's column: its square divides the intercept's penalty."""
FOLDS = 5
NUM_BINS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A fitted function of a belief's features, or none, with how good it is."""

    coefficients: tuple[float, ...] | None
    """Intercept, then one a feature, of standardised features; None where nothing was fitted."""
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    report: dict[str, Any]
    """`calibration.json`."""

    def confidence(self, belief: Belief) -> float:
        """Probability that the winner is also preferred in other words; where nothing is fitted,
        its mean softmax weight."""
        if self.coefficients is None:
            return belief.weights[belief.winner]
        X_1F = (np.array([belief.features]) - self.means) / self.scales
        return float(_probability(X_1F, np.array(self.coefficients))[0])

    def p_stale(self, belief: Belief, num_own: int) -> float:
        """Probability that an old value is preferred there; what the winner leaves over is divided
        among the others by their weights.

        num_own  candidates of the change itself: the new value, which is first, and the old ones
        """
        sure = self.confidence(belief)
        others = 1.0 - belief.weights[belief.winner]
        share = (1.0 - sure) / others if others > 0 else 0.0
        return sum(
            sure if n == belief.winner else share * belief.weights[n] for n in range(1, num_own)
        )


def holds_in_paraphrases(winner: int, asked: Sequence[Answer], prior_N: Sequence[float]) -> bool:
    """Whether a candidate wins most paraphrases.

    prior_N  log-likelihood of each candidate without the subject, mean over the statements; of the
             paraphrases there are no neutral forms
    """
    wins = [int(np.argmax(np.array(answer.logprobs) - prior_N)) == winner for answer in asked]
    return 2 * sum(wins) > len(wins)


def calibrate(beliefs: Sequence[Belief], held: Sequence[bool]) -> Calibration:
    """Fit on beliefs about unchanged facts, and on whether each held in other words.

    The Brier score and the reliability bins are of probabilities that each fact was given by a fit
    on others (every fifth fact left out in turn).
    """
    n, positives = len(held), sum(held)
    report: dict[str, Any] = {"schema": 1, "n": n, "held": positives}
    if n < MIN_FACTS or min(positives, n - positives) < MIN_EITHER:
        report["fitted"] = False
        report["reason"] = (
            f"{n} unchanged facts were asked, of which {positives} beliefs held in other words; "
            f"{MIN_FACTS} are needed, {MIN_EITHER} of either kind: confidence is the mean weight"
        )
        return Calibration(coefficients=None, report=report)
    features_NF = np.array([belief.features for belief in beliefs], dtype=np.float64)
    y_N = np.array(held, dtype=np.float64)
    means_F, scales_F = features_NF.mean(0), features_NF.std(0)
    scales_F = np.where(scales_F > 1e-9, scales_F, 1.0)
    X_NF = (features_NF - means_F) / scales_F
    fitted = fit(X_NF, y_N)
    unseen_N = np.empty(n)
    fold_N = np.arange(n) % FOLDS
    for fold in range(FOLDS):
        out = fold_N == fold
        unseen_N[out] = _probability(X_NF[out], fit(X_NF[~out], y_N[~out]))
    report |= {
        "fitted": True,
        "target": "the winner also wins most held-out paraphrases",
        "features": ["lead, nats", "share of statements won", "share in which it says so"],
        "coefficients": fitted.tolist(),
        "means": means_F.tolist(),
        "scales": scales_F.tolist(),
        "brier": float(np.mean((unseen_N - y_N) ** 2)),
        "brier_of_the_mean": float(np.mean((y_N.mean() - y_N) ** 2)),
        "bins": reliability(unseen_N, y_N),
    }
    return Calibration(
        coefficients=tuple(fitted.tolist()),
        means=tuple(means_F.tolist()),
        scales=tuple(scales_F.tolist()),
        report=report,
    )


def fit(X_NF: np.ndarray, y_N: np.ndarray) -> np.ndarray:
    """Coefficients [1 + F], intercept first, that minimise

        -Σ log p(y_n | x_n) + RIDGE/2 Σ_f w_f²

    The intercept is not penalised beyond what keeps it finite, which is as if its column were
    INTERCEPT everywhere: its weight is then small and its penalty smaller.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second, which only this waits for

    A = np.column_stack([np.full(len(X_NF), INTERCEPT), X_NF])
    # Two rows of zeros, one of either kind, add a constant to the loss: scikit-learn refuses facts
    # of one kind, which those of a fold may be.
    A, y_N = np.vstack([A, np.zeros((2, A.shape[1]))]), np.append(y_N, [0.0, 1.0])
    model = LogisticRegression(
        C=1 / RIDGE, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=100
    )
    w = model.fit(A, y_N).coef_[0]
    return np.append(w[0] * INTERCEPT, w[1:])


def reliability(p_N: np.ndarray, y_N: np.ndarray) -> list[dict[str, float]]:
    """Of equal intervals of the probability: its mean there, and the share that held."""
    bin_N = np.minimum((p_N * NUM_BINS).astype(int), NUM_BINS - 1)
    return [
        {
            "low": b / NUM_BINS,
            "high": (b + 1) / NUM_BINS,
            "n": int((bin_N == b).sum()),
            "mean": float(p_N[bin_N == b].mean()),
            "held": float(y_N[bin_N == b].mean()),
        }
        for b in range(NUM_BINS)
        if (bin_N == b).any()
    ]


def _probability(X_NF: np.ndarray, w: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(w[0] + X_NF @ w[1:], -30, 30)))
