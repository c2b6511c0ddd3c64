"""Makes the report from the scores of all roles: numbers, differences between roles, and the
candidate's numbers by relation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from infra.lm.normal_form import normalise
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import Scores
from pipeline.evaluate.scoring.metric import Measured, Metric, difference, parts

COMPARED = (("candidate", "base"), ("candidate", "parent"), ("context", "candidate"))
"""Pairs of roles whose differences are in the report."""
LANE_METRICS = (
    *("reliability", "generality", "retention"),
    *("chat_reliability", "chat_generality", "chat_retention"),
)
"""Metrics that are reported by lane."""


def report_of(
    cases: CaseSet,
    config: EvaluateConfig,
    scores: Mapping[str, Scores],
    left_out: Mapping[str, str] = MappingProxyType({}),
    lanes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Content of `report.json`: every number by role, differences between roles, and the
    candidate's numbers by relation and, where there are several, by lane.

    left_out  family of metrics that says nothing of this model -> why
    lanes     lane -> ids of the facts in it; empty where all facts are in one
    """
    report = {
        "schema": 2,
        "families": list(config.metrics),
        "left_out": dict(left_out),
        "data": {"name": cases.name, "digest": cases.digest, "cases": len(cases.cases)},
        "systems": {
            "candidate": {"mode": f"batch:{len(cases.cases)}", "context": False},
            "context": {"mode": "none", "context": True},
        },
        "roles": {role: summary(measures) for role, measures in scores.items()},
        "differences": differences(scores, cases),
        "relations": by_relation(scores["candidate"], cases),
    }
    return {**report, "lanes": by_lane(scores["candidate"], lanes)} if lanes else report


def summary(scores: Scores) -> dict[str, Any]:
    """Scores as JSON: each number with its count, interval and protocol."""
    return {name: as_json(s if isinstance(s, Metric) else s.metric()) for name, s in scores.items()}


def differences(scores: Mapping[str, Scores], cases: CaseSet) -> dict[str, dict[str, Any]]:
    """Differences between the pairs of roles in `COMPARED`, by pair and metric, on the facts that
    both were asked about.

    For perplexity it is the difference of the logarithms; exp of it is the ratio.
    """
    subjects = {case.id: normalise(case.subject) for case in cases.cases}
    found: dict[str, dict[str, Any]] = {}
    for one, two in COMPARED:
        if one in scores and two in scores:
            pairs = {name: (a, scores[two].get(name)) for name, a in scores[one].items()}
            found[f"{one}-{two}"] = {
                name: as_json(difference(a, b, subjects))
                for name, (a, b) in pairs.items()
                if isinstance(a, Measured) and isinstance(b, Measured)
            }
    return found


def by_relation(scores: Scores, cases: CaseSet) -> dict[str, dict[str, Any]]:
    """Reliability, generality and retention by relation."""
    relations = {case.id: case.relation for case in cases.cases}
    found: dict[str, dict[str, Any]] = {}
    for name in ("reliability", "generality", "retention"):
        whole = scores.get(name)
        if not isinstance(whole, Measured):
            continue
        for relation, part in parts(whole, relations).items():
            found.setdefault(relation, {})[name] = as_json(part.metric())
    return found


def by_lane(scores: Scores, lanes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """For each lane, the number of its facts, and the metrics of `LANE_METRICS` on those that were
    measured."""
    found: dict[str, dict[str, Any]] = {lane: {"facts": len(ids)} for lane, ids in lanes.items()}
    lane_of = {case_id: lane for lane, ids in lanes.items() for case_id in ids}
    for name in LANE_METRICS:
        whole = scores.get(name)
        if isinstance(whole, Measured):
            for lane, part in parts(whole, lane_of).items():
                found[lane][name] = as_json(part.metric())
    return found


def as_json(metric: Metric) -> dict[str, Any]:
    """A metric as JSON. Infinity and NaN become null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(metric).items()
    }
