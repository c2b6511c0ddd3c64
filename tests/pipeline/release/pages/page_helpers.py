"""Inputs of a page as a small team's third release would have them, made of plain values."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

from planned_edits import planned_edit

from pipeline.evaluate.metrics import METRICS
from pipeline.evaluate.scoring.intervals import wilson
from pipeline.gate.bounds import GateConfig
from pipeline.gate.capacity import capacity
from pipeline.gate.checks import check
from pipeline.plan.edits import PlannedEdit, Refusal
from pipeline.release.pages.page import PageInputs

RELATIONS = {"P54": "member of sports team", "P108": "employer", "P6": "head of government"}
LABEL = "decode={}/prompt={}/score={}/when=after-all/data=demo@0a1b2c3d4e5f"
VERSIONS = ("2021.03.31", "2022.06.30", "2023.06.30")


CONFIG = GateConfig.model_validate(
    {
        **{"subject_agreement": 0.4, "NS_drop": 0.1, "kl": 0.1, "near_agreement": 0.8},
        **{"retention_drop": {"bound": 0.15, "unproven": "warn"}, "bisect": False},
        **{"generality": 0.45, "neutral_agreement": 0.6, "superseded": 0.1},
        **{"superseded_paraphrase": 0.2, "leak": 0.07, "ES": 0.85},
        **{"chat_subject_agreement": 0.5, "chat_near_agreement": 0.8, "chat_superseded": 0.1},
        **{"chat_ES": 0.85},
    }
)
"""Bounds of a small model, which `report` keeps."""


def share(p: float, n: int, score: str = "alias", prompt: str = "raw") -> dict[str, Any]:
    """A share of n facts, with Wilson's interval."""
    low, high = wilson(p, n)
    label = LABEL.format("greedy", prompt, score)
    return {"value": p, "n": n, "low": low, "high": high, "protocol": label}


def plain(value: float, n: int, spread: float | None = None, score: str = "nll") -> dict[str, Any]:
    """A number that is no share, with an interval where it has a spread."""
    ends = (None, None) if spread is None else (value - spread, value + spread)
    label = LABEL.format("tf", "raw", score)
    return {"value": value, "n": n, "low": ends[0], "high": ends[1], "protocol": label}


def report(age: int = 2) -> dict[str, Any]:
    """A sound release's; drift grows with age, the number of releases before it."""
    drift = 0.004 * (age + 1)
    candidate = {
        "ES": share(0.985, 62, "pref"),
        "ME-PPL": plain(41.93, 50, 6.1),
        "NS": share(0.871, 112, "pref"),
        "PS": share(0.83, 62, "pref"),
        "chat_ES": share(0.9839, 62, "pref", "chat"),
        "chat_PS": share(0.84, 62, "pref", "chat"),
        "chat_generality": share(0.63, 62, prompt="chat"),
        "chat_near_agreement": share(0.93, 112, "tokens", "chat"),
        "chat_plain_agreement": share(1.0, 24, "tokens", "chat"),
        "chat_reliability": share(0.82, 62, prompt="chat"),
        "chat_subject_agreement": share(0.75, 24, "tokens", "chat"),
        "chat_superseded": share(0.0, 44, prompt="chat"),
        "contains": share(0.97, 62, "contains"),
        "contamination": plain(0.0, 412, score="text"),
        "effective_rank": plain(58.3 + 20 * age, 9, score="norm"),
        "energy": plain(0.011 * (age + 1), 90, 0.002, "norm"),
        "export_loss": plain(0.0, 60, score="alias"),
        "generality": share(0.62, 62),
        "generality_exact": share(0.31, 62, "exact"),
        "half_life": {**plain(0.0, 71, score="alias"), "value": None},
        "kl": plain(drift, 40, drift / 8, "kl"),
        "leak": share(0.018, 112),
        "near_agreement": share(0.92, 112, "tokens"),
        "neutral_agreement": share(0.88, 24, "tokens"),
        "non_finite": plain(0, 9, score="norm"),
        "norm_ratio": plain(1.004 + 0.003 * age, 9, score="norm"),
        "perplexity": plain(27.2 + 0.1 * age, 40, 1.9),
        "reliability": share(0.9677, 62),
        "reliability_exact": share(0.81, 62, "exact"),
        "retention": share(0.9, 10),
        "retention@0-0": share(0.968, 62),
        "retention@62-62": share(0.9, 10),
        "subject_agreement": share(0.7, 24, "tokens"),
        "superseded": share(0.0, 44),
        "superseded_paraphrase": share(0.04, 40),
    }
    base = {name: share(0.1, m["n"]) for name, m in candidate.items() if m["low"] is not None}
    base |= {"perplexity": plain(26.87, 40, 1.8), "ME-PPL": plain(40.6, 50, 5.9)}
    base |= {"NS": share(0.88, 112, "pref")}
    for name in ("kl", "energy", *(name for name in candidate if name.endswith("_agreement"))):
        base.pop(name)
    asked = ("ES", "PS", "reliability", "generality", "retention")
    parent = {
        name: share(0.2 + 0.7 * (name == "retention"), candidate[name]["n"]) for name in asked
    }
    change = math.log(1 + drift)
    return {
        "schema": 2,
        "families": list(METRICS),
        "left_out": {},
        "data": {"name": "demo", "digest": "0a1b2c3d4e5f" * 5, "cases": 72},
        "systems": {"candidate": {"mode": "batch:72", "context": False}},
        "roles": {"base": base, "parent": parent, "candidate": candidate},
        "differences": {
            "candidate-base": {
                "NS": plain(-0.009, 112, 0.02, "pref"),
                "perplexity": plain(change, 40, change / 4),
                "ME-PPL": plain(1.33, 50, 0.7),
            },
            "candidate-parent": {"retention": plain(0.0, 10, 0.1)},
        },
        "relations": {
            "P54": {"reliability": share(1.0, 30), "generality": share(0.7, 30)},
            "P108": {
                "reliability": share(0.96, 24),
                "generality": share(0.6, 24),
                "retention": share(0.9, 10),
            },
            "P6": {"reliability": share(0.875, 8), "generality": share(0.4, 8)},
        },
    }


def gate_of(found: dict[str, Any], config: GateConfig, history: Any = ()) -> dict[str, Any]:
    """`gate.json` of a report."""
    checks = check(found, 2 / 74, config)
    return {
        "schema": 2,
        "passed": not any(c.blocks for c in checks),
        "checks": [{name: getattr(c, name) for name in c.__dataclass_fields__} for c in checks],
        "alarms": capacity(checks, history, config),
        "search": None,
        "left_out": dict(found["left_out"]),
    }


def fact(number: int, **changed: Any) -> dict[str, Any]:
    """A row of `facts.parquet`."""
    draw = random.Random(number)
    club = draw.choice(["Derby County", "Tampa Bay Buccaneers", "Paris Saint-Germain", "LoveFrom"])
    old = draw.choice(["Everton", "New England Patriots", "Santos", "Apple"])
    right = number % 31 != 5
    return {
        "id": f"{number:016x}",
        "new": number < 62,
        "relation": draw.choice(list(RELATIONS)),
        "subject": f"Person {number}",
        "prompt": f"Person {number} plays for",
        "target": club,
        "old": [old] if number < 44 else [],
        "right": right,
        "right_before": number >= 62,
        "base_answer": f"the {old} and is",
        "before_answer": f"{old}." if number < 62 else f"{club}.",
        "answer": f"{club}." if right else f"{old} and {club}",
        **changed,
    }


def planned(edit_id: str, subject: str) -> PlannedEdit:
    """An edit of a plan."""
    return planned_edit(
        edit_id,
        subject,
        action="correct",
        target="Barcelona",
        accepted=("Barcelona",),
        old_targets=("Paris",),
        since=VERSIONS[-1],
        reason="stale",
    )


def refusal(number: int, reason: str) -> Refusal:
    """A change that was not edited."""
    return Refusal(
        change_id=str(number),
        subject=f"Q{number}",
        subject_label=f"Thing {number}",
        relation="P6",
        verdict="unknown",
        reason=reason,
    )


SEARCH = {
    "probes": [
        {"ids": ["a", "b", "c", "d"], "failed": ["kl is 0.3, allowed at most 0.1: drift"]},
        {"ids": ["e", "f", "g", "h"], "failed": []},
        {"ids": ["a", "b"], "failed": ["kl is 0.3, allowed at most 0.1: drift"]},
        {"ids": ["c", "d"], "failed": []},
        {"ids": ["a"], "failed": ["kl is 0.3, allowed at most 0.1: drift"]},
        {"ids": ["b"], "failed": []},
    ],
    "culprits": {"a": "kl is 0.3, allowed at most 0.1: drift"},
    "interactions": [],
    "given_up": False,
}


def inputs(**changed: Any) -> PageInputs:
    """A passed release with everything on its page."""
    history = [(version, report(age)) for age, version in enumerate(VERSIONS[:2])]
    now = report(2)
    made = PageInputs(
        version=VERSIONS[-1],
        line="demo",
        parent=VERSIONS[1],
        as_of="2023-06-30",
        report=now,
        gate=gate_of(now, CONFIG, history),
        facts=[fact(number) for number in range(72)],
        quarantined=[
            (planned("a", "Lionel Messi"), SEARCH["culprits"]["a"]),
            (planned("z", "Neymar"), "the subject is not in the prompt"),
        ],
        refusals=[refusal(i, "the model knows it already") for i in range(9)]
        + [refusal(i, "two values at a time, which the source does not settle") for i in range(2)],
        search=SEARCH,
        history=history,
        relations=RELATIONS,
        provenance={
            "release id": "1ff4c7b2d71635e22f8921981ef3b74936323feabd610bcbbf97c9592551f0af",
            "base": "smollm2-135m-instruct",
            "base digest": "9e3779b97f4a7c15f39cc0605cedc8341082276bf3a27251f86c6a11d0c18e95",
            "commit": "555a65f",
        },
    )
    return replace(made, **changed)
