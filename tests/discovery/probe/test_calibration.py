"""Confidence: how beliefs of the probe hold, by facts that did not change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probe_helpers import OLD_WINS, belief

from discovery.probe.beliefs.belief import Belief
from discovery.probe.beliefs.calibration import (
    MIN_FACTS,
    RIDGE,
    calibrate,
    fit,
)
from discovery.relations.relation import load_relations

RELATIONS = load_relations()


@given(
    st.lists(
        st.tuples(st.floats(-50, 0), st.floats(-50, 0), st.floats(-50, 0)), min_size=3, max_size=3
    )
)
def test_probabilities_are_probabilities(scores: Any) -> None:
    """Whatever is scored, fitted or not, confidence and P(stale) are in [0, 1], and the shares
    of all candidates add up to no more than one."""
    heard = belief(scores, ["x"] * 3)
    for calibration in (calibrate([], []), FITTED):
        sure = calibration.confidence(heard)
        assert 0 <= sure <= 1
        assert -1e-12 <= calibration.p_stale(heard, 2) <= calibration.p_stale(heard, 3) <= 1 + 1e-12
        if heard.winner == 1:
            assert calibration.p_stale(heard, 2) == pytest.approx(sure)


def made_beliefs(n: int, seed: int) -> tuple[list[Belief], list[bool], np.ndarray]:
    """Beliefs whose chance of holding is a known logistic function of their lead."""
    draw = np.random.default_rng(seed)
    leads = draw.normal(1.0, 2.0, n)
    true = 1 / (1 + np.exp(-(leads - 1.0)))
    plain = belief([OLD_WINS] * 3, ["x"] * 3)
    beliefs = [replace(plain, features=(lead, draw.random(), draw.random())) for lead in leads]
    return beliefs, (draw.random(n) < true).tolist(), true


FITTED = calibrate(*made_beliefs(400, 1)[:2])


def made_facts(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and outcomes of 60 facts: usual ones, or such as a fit may stumble over."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(60, 3))
    y = (draw.random(60) < 1 / (1 + np.exp(-X[:, 0]))).astype(float)
    if kind == "all hold" or kind == "none holds":
        y[:] = kind == "all hold"
    elif kind == "one holds":
        y[:] = np.arange(60) == 7
    elif kind == "separable":
        y = (X[:, 0] > 0.1).astype(float)
    elif kind == "features alike":
        X[:, 1:] = X[:, :1]
    elif kind == "features say nothing":
        X[:] = 0
    elif kind == "one far off":
        X[3] = 1e4
    return X, y


KINDS = (
    *("usual", "all hold", "none holds", "one holds", "separable"),
    *("features alike", "features say nothing", "one far off"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fit_has_no_gradient(kind: str) -> None:
    """At the solution the penalised loss is flat, and it is no lower anywhere around; facts of one
    kind, as a fold may have, and what a line parts, have a finite fit too."""
    X, y = made_facts(kind)
    A, ridge = np.column_stack([np.ones(60), X]), np.array([1e-6, RIDGE, RIDGE, RIDGE])

    def loss(w: np.ndarray) -> float:
        z = A @ w
        return float(np.sum(np.logaddexp(0, -z) + (1 - y) * z) + 0.5 * np.sum(ridge * w**2))

    w = fit(X, y)
    gradient = A.T @ (1 / (1 + np.exp(-(A @ w))) - y) + ridge * w
    assert np.abs(gradient).max() < 1e-8 * np.abs(A).max(), gradient
    draw = np.random.default_rng(1)
    assert all(loss(w) <= loss(w + draw.normal(size=4) * 0.1) for _ in range(100))
    assert np.abs(w).max() < 30


@pytest.mark.parametrize("kind", KINDS)
def test_the_fit_is_where_newtons_method_ends(kind: str) -> None:
    """Plain steps by the whole Hessian, on the intercept's own scale, come to the same place."""
    X, y = made_facts(kind)
    A, ridge = np.column_stack([np.ones(60), X]), np.diag([1e-6, RIDGE, RIDGE, RIDGE])
    w = np.zeros(4)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(A @ w, -30, 30)))
        hessian = (A * (p * (1 - p))[:, None]).T @ A + ridge
        w -= np.linalg.solve(hessian, A.T @ (p - y) + ridge @ w)
    assert fit(X, y) == pytest.approx(w, rel=1e-6, abs=1e-8)


def test_calibration_finds_how_beliefs_hold() -> None:
    """On made beliefs confidence is near the chance that made them, and better than their mean; the
    reliability bins hold every fact."""
    beliefs, held, true = made_beliefs(2000, 2)
    calibration = calibrate(beliefs, held)
    given_ = np.array([calibration.confidence(b) for b in beliefs])
    assert np.abs(given_ - true).mean() < 0.05
    report = calibration.report
    assert report["brier"] < report["brier_of_the_mean"] - 0.02
    assert sum(b["n"] for b in report["bins"]) == report["n"] == 2000
    assert all(abs(b["mean"] - b["held"]) < 0.1 for b in report["bins"] if b["n"] > 100)


def test_too_few_facts_calibrate_nothing() -> None:
    """Below the number, or where all hold, the mean weight stands in, and the report says why."""
    beliefs, held, _ = made_beliefs(MIN_FACTS, 3)
    for some, outcome in [(beliefs[:-1], held[:-1]), (beliefs, [True] * MIN_FACTS), ([], [])]:
        calibration = calibrate(some, outcome)
        assert not calibration.report["fitted"] and "needed" in calibration.report["reason"]
        one = belief([OLD_WINS] * 3, ["x"] * 3)
        assert calibration.confidence(one) == one.weights[one.winner]
