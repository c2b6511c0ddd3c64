"""Confidence in a belief: a logistic function of the belief's features, fitted in the same run.

The model is also asked about facts that did not change, in the relation's statements and in its
held-out paraphrases. On these facts the module estimates

    P(the believed candidate also wins most paraphrases | lead, agreement, says it)

The paraphrases play no part in the verdict, so they test whether the belief depends on the wording.
Unchanged facts are used because neither the sources nor our edits have changed them. The fit is
scikit-learn's logistic regression with a ridge penalty, on standardised features, in float64
(Hastie, Tibshirani, Friedman, *Elements of Statistical Learning*, sections 3.4.1 and 4.4.1).

Letters in names of arrays: N facts (in `prior_N`: candidates), F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from discovery.probe.beliefs.belief import Belief
from infra.lm.question import Answer

MIN_FACTS = 24
"""Unchanged facts needed for a fit."""
MIN_EITHER = 3
"""Beliefs needed that hold in the paraphrases, and as many that do not."""
RIDGE = 1.0
"""Weight of the ridge penalty."""
INTERCEPT = 1000.0
"""Value in the intercept's column, which divides the intercept's penalty by its square."""
FOLDS = 5
"""Parts of the cross-validation that measures the fit."""
NUM_BINS = 5
"""Intervals of the reliability diagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The fitted function from a belief's features to its confidence, with a report of the fit."""

    coefficients: tuple[float, ...] | None
    """The intercept, then one coefficient for each standardised feature: [1 + F]. None where too
    few facts were asked about for a fit."""
    means: tuple[float, ...] = ()
    """Mean of each feature, subtracted to standardise it: [F]."""
    scales: tuple[float, ...] = ()
    """Standard deviation of each feature, which divides it: [F]."""
    report: dict[str, Any]
    """The content of `calibration.json`."""

    def confidence(self, belief: Belief) -> float:
        """Probability that the model prefers the winner in other wordings too; without a fit, the
        winner's mean softmax weight."""
        if self.coefficients is None:
            return belief.weights[belief.winner]
        X_1F = (np.array([belief.features]) - self.means) / self.scales
        return float(_probability(X_1F, np.array(self.coefficients))[0])

    def p_stale(self, belief: Belief, num_own: int) -> float:
        """Probability that the model prefers an old value in other wordings.

        The winner has the probability `confidence`; the rest is divided among the other candidates
        in proportion to their softmax weights.

        num_own  number of the change's own candidates: the new value, which is first, and the old
                 values
        """
        sure = self.confidence(belief)
        others = 1.0 - belief.weights[belief.winner]
        share = (1.0 - sure) / others if others > 0 else 0.0
        return sum(
            sure if n == belief.winner else share * belief.weights[n] for n in range(1, num_own)
        )


def holds_in_paraphrases(winner: int, asked: Sequence[Answer], prior_N: Sequence[float]) -> bool:
    """Whether a candidate wins most paraphrases.

    winner   position of the candidate
    asked    the answers to the paraphrases
    prior_N  log-likelihood of each candidate without the subject, mean over the statements, since
             paraphrases have no form without the subject
    """
    wins = [int(np.argmax(np.array(answer.logprobs) - prior_N)) == winner for answer in asked]
    return 2 * sum(wins) > len(wins)


def calibrate(beliefs: Sequence[Belief], held: Sequence[bool]) -> Calibration:
    """Fit the confidence on beliefs about unchanged facts.

    held  whether each belief also wins most paraphrases (`holds_in_paraphrases`): [N]

    The Brier score and the reliability bins are cross-validated: the probability of each fact comes
    from a fit on the other folds (`FOLDS`).
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

    X_NF  standardised features
    y_N   1 where the belief held, else 0

    The intercept is penalised only so much that it stays finite: it is the weight of a column whose
    value is INTERCEPT everywhere, so the weight and its penalty are small.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second, which only this waits for

    A = np.column_stack([np.full(len(X_NF), INTERCEPT), X_NF])
    # scikit-learn refuses facts that all held or all did not, which may happen in a fold. Two rows
    # of zeros, one of either kind, prevent that, and add only a constant to the loss.
    A, y_N = np.vstack([A, np.zeros((2, A.shape[1]))]), np.append(y_N, [0.0, 1.0])
    model = LogisticRegression(
        C=1 / RIDGE, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=100
    )
    w = model.fit(A, y_N).coef_[0]
    return np.append(w[0] * INTERCEPT, w[1:])


def reliability(p_N: np.ndarray, y_N: np.ndarray) -> list[dict[str, float]]:
    """The reliability diagram: for each of `NUM_BINS` equal intervals of the probability that has
    facts, the number of facts, their mean probability, and the share of them that held.

    p_N  probability of each fact
    y_N  1 where the belief held, else 0
    """
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
    """The logistic function of each row, [N], with coefficients `w` of shape [1 + F]."""
    return 1.0 / (1.0 + np.exp(-np.clip(w[0] + X_NF @ w[1:], -30, 30)))
