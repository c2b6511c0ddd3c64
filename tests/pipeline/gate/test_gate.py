"""Numbers against bounds: by interval, each with its reason, and the alarm before a collapse."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.errors import GateError
from infra.execution.runner import InProcessRunner
from infra.storage.stage_dir import StageDir
from pipeline.evaluate.metrics import METRICS
from pipeline.gate.bisection import Search
from pipeline.gate.bounds import GateConfig
from pipeline.gate.capacity import capacity
from pipeline.gate.checks import CHECKS, check
from pipeline.gate.output import GATE
from pipeline.gate.stage import GateInputs, gate, require_passed


def metric(value: float, low: float | None = None, high: float | None = None, n: int = 100) -> Any:
    return {"value": value, "low": low, "high": high, "n": n, "protocol": "p"}


def report(**changed: Any) -> dict[str, Any]:
    """A sound release's; `changed` are metrics of the candidate, or differences with a dash."""
    good: dict[str, Any] = {
        "families": list(METRICS),
        "left_out": {},
        "data": {"name": "t", "digest": "", "cases": 62},
        "roles": {
            "base": {"ME-PPL": metric(40.0)},
            "candidate": {
                "ES": metric(0.99, 0.95, 1.0),
                "reliability": metric(0.9, 0.85, 0.95),
                "PS": metric(0.8, 0.75, 0.85),
                "generality": metric(0.7, 0.6, 0.8),
                "superseded": metric(0.0, 0.0, 0.03),
                "superseded_paraphrase": metric(0.01, 0.0, 0.03),
                "leak": metric(0.0, 0.0, 0.03),
                "near_agreement": metric(0.97, 0.92, 0.99),
                "subject_agreement": metric(0.97, 0.92, 0.99),
                "neutral_agreement": metric(0.97, 0.92, 0.99),
                "chat_ES": metric(0.99, 0.95, 1.0),
                "chat_reliability": metric(0.9, 0.85, 0.95),
                "chat_PS": metric(0.8, 0.75, 0.85),
                "chat_generality": metric(0.7, 0.6, 0.8),
                "chat_superseded": metric(0.0, 0.0, 0.03),
                "chat_near_agreement": metric(0.97, 0.92, 0.99),
                "chat_subject_agreement": metric(0.97, 0.92, 0.99),
                "chat_plain_agreement": metric(0.97, 0.92, 0.99),
                "kl": metric(0.01, 0.008, 0.012),
                "energy": metric(0.01, 0.008, 0.012),
                "norm_ratio": metric(1.01),
                "effective_rank": metric(60.0),
                "non_finite": metric(0.0),
                "contamination": metric(0.0),
                "export_loss": metric(0.0),
                "adapter_loss": metric(0.0),
            },
        },
        "differences": {
            "candidate-base": {
                "NS": metric(-0.01, -0.03, 0.01),
                "perplexity": metric(0.005, 0.001, 0.009),
                "ME-PPL": metric(0.5, -0.2, 1.2),
                "capability": metric(0.0, -0.01, 0.01),
            },
            "candidate-parent": {"retention": metric(0.0, -0.02, 0.02)},
        },
        "relations": {"P54": {"reliability": metric(0.9, 0.8, 0.95, n=40)}},
    }
    made = copy.deepcopy(good)
    for name, value in changed.items():
        if name in ("retention",):
            made["differences"]["candidate-parent"][name] = value
        elif name in ("NS", "perplexity", "ME_PPL", "capability"):
            made["differences"]["candidate-base"][name.replace("_", "-")] = value
        elif name == "P54":
            made["relations"]["P54"]["reliability"] = value
        else:
            made["roles"]["candidate"][name] = value
    return made


BROKEN: dict[str, tuple[str, Any]] = {
    "ES": ("ES", metric(0.5, 0.4, 0.6)),
    "reliability": ("reliability", metric(0.1, 0.05, 0.2)),
    "PS": ("PS", metric(0.1, 0.05, 0.2)),
    "generality": ("generality", metric(0.1, 0.05, 0.2)),
    "worst_relation": ("P54", metric(0.1, 0.05, 0.2, n=40)),
    "retention_drop": ("retention", metric(-0.2, -0.3, -0.1)),
    "superseded": ("superseded", metric(0.3, 0.2, 0.4)),
    "superseded_paraphrase": ("superseded_paraphrase", metric(0.3, 0.2, 0.4)),
    "NS_drop": ("NS", metric(-0.2, -0.3, -0.1)),
    "leak": ("leak", metric(0.3, 0.2, 0.4)),
    "near_agreement": ("near_agreement", metric(0.5, 0.4, 0.6)),
    "subject_agreement": ("subject_agreement", metric(0.5, 0.4, 0.6)),
    "neutral_agreement": ("neutral_agreement", metric(0.5, 0.4, 0.6)),
    "chat_ES": ("chat_ES", metric(0.5, 0.4, 0.6)),
    "chat_reliability": ("chat_reliability", metric(0.1, 0.05, 0.2)),
    "chat_PS": ("chat_PS", metric(0.1, 0.05, 0.2)),
    "chat_generality": ("chat_generality", metric(0.1, 0.05, 0.2)),
    "chat_superseded": ("chat_superseded", metric(0.3, 0.2, 0.4)),
    "chat_near_agreement": ("chat_near_agreement", metric(0.5, 0.4, 0.6)),
    "chat_subject_agreement": ("chat_subject_agreement", metric(0.5, 0.4, 0.6)),
    "chat_plain_agreement": ("chat_plain_agreement", metric(0.5, 0.4, 0.6)),
    "kl": ("kl", metric(0.5, 0.4, 0.6)),
    "perplexity_ratio": ("perplexity", metric(math.log(1.5), 0.3, 0.5)),
    "me_ppl_ratio": ("ME_PPL", metric(20.0, 10.0, 30.0)),
    "norm_ratio": ("norm_ratio", metric(2.0)),
    "non_finite": ("non_finite", metric(3.0)),
    "contamination": ("contamination", metric(0.01)),
    "export_loss": ("export_loss", metric(0.5)),
    "adapter_loss": ("adapter_loss", metric(0.5)),
    "capability_drop": ("capability", metric(-0.2, -0.3, -0.1)),
}


def test_a_good_report_passes() -> None:
    """No bound is out of reach of a sound release, and every check has one in the config."""
    assert not [c for c in check(report(), 0.0, GateConfig()) if c.state != "pass"]
    assert {*CHECKS, "quarantined", "bisect"} == set(GateConfig.model_fields)


@pytest.mark.parametrize("name", BROKEN)
def test_each_bound_fails_alone_and_says_by_how_much(name: str) -> None:
    """One broken number fails one check, the right one; only those that warn let it pass."""
    key, value = BROKEN[name]
    [failed] = [c for c in check(report(**{key: value}), 0.0, GateConfig()) if c.state != "pass"]
    assert (failed.name, failed.state, failed.blocks) == (name, "fail", True)
    assert "off by" in failed.sentence and failed.why in failed.sentence
    with pytest.raises(GateError, match=rf"{failed.name} is .* allowed"):
        require_passed("v", [failed.sentence])


def test_a_number_inside_its_bound_is_not_enough() -> None:
    """Non-inferiority by interval: 19 of 20 are above 0.9 and prove nothing; the same of 400 do."""
    few, many = metric(0.95, 0.76, 0.99, n=20), metric(0.95, 0.92, 0.97, n=400)
    [unproven] = [c for c in check(report(ES=few), 0.0, GateConfig()) if c.state != "pass"]
    assert (unproven.name, unproven.state, unproven.blocks) == ("ES", "unproven", True)
    assert "n = 20" in unproven.sentence
    assert not [c for c in check(report(ES=many), 0.0, GateConfig()) if c.state != "pass"]
    lenient = GateConfig.model_validate({"ES": {"unproven": "warn"}})
    [warned] = [c for c in check(report(ES=few), 0.0, lenient) if c.state != "pass"]
    assert (warned.state, warned.blocks) == ("unproven", False)


def test_a_bare_number_is_a_bound_and_leaves_the_rest() -> None:
    """`kl = 0.5` in a config keeps the reason; an unknown check or key is refused."""
    config = GateConfig.model_validate({"kl": 0.5, "retention_drop": {"unproven": "pass"}})
    assert (config.kl.bound, config.kl.why) == (0.5, GateConfig().kl.why)
    assert config.retention_drop.bound == GateConfig().retention_drop.bound
    for bad in ({"klm": 0.5}, {"kl": {"bund": 0.5}}, {"kl": "low"}):
        with pytest.raises(ValueError):
            GateConfig.model_validate(bad)


def test_what_was_not_measured_does_not_pass() -> None:
    """Leaving a family out of the evaluation is no way through its bounds; having nothing to
    measure (a first release has no parent) is."""
    made = report()
    made["families"].remove("locality")
    for name in ("leak", "near_agreement", "subject_agreement", "neutral_agreement"):
        del made["roles"]["candidate"][name]
    states = {c.name: c for c in check(made, 0.0, GateConfig()) if c.state != "pass"}
    assert states.keys() == {
        "leak",
        "near_agreement",
        "subject_agreement",
        "neutral_agreement",
    }
    assert all(c.blocks and "not measured" in c.sentence for c in states.values())
    first = report()
    del first["differences"]["candidate-parent"]
    assert "retention_drop" not in {c.name for c in check(first, 0.0, GateConfig())}


def test_a_model_without_a_chat_template_is_not_judged_in_a_chat(tmp_path: Path) -> None:
    """Its checks are left out and the outcome says why; a family that a config leaves out fails."""
    made = report()
    made["families"].remove("chat")
    for name in [name for name in made["roles"]["candidate"] if name.startswith("chat_")]:
        del made["roles"]["candidate"][name]
    failed = [c for c in check(made, 0.0, GateConfig()) if c.state != "pass"]
    assert len(failed) == 8 and all(c.state == "not measured" and c.blocks for c in failed)
    made["left_out"] = {"chat": "the tokenizer has no chat template"}
    checks = check(made, 0.0, GateConfig())
    assert not [c for c in checks if c.state != "pass" or c.name.startswith("chat_")]
    inputs = GateInputs(report=made, num_planned=1, num_quarantined=0, config=GateConfig())
    counts = gate(inputs, StageDir(tmp_path), InProcessRunner())
    assert counts["passed"] and not counts["warnings"]
    assert json.loads((tmp_path / GATE).read_text())["left_out"] == made["left_out"]


def test_a_batch_that_loses_many_edits_fails() -> None:
    """Quarantine has a bound."""
    [failed] = [c for c in check(report(), 0.2, GateConfig()) if c.state != "pass"]
    assert (failed.name, failed.blocks) == ("quarantined", True)


def test_one_old_value_is_a_warning() -> None:
    """Of many facts a single one that still gets its old value does not block, and is told."""
    one = report(superseded=metric(0.008, 0.001, 0.046, n=119))
    [warned] = [c for c in check(one, 0.0, GateConfig()) if c.state != "pass"]
    assert (warned.name, warned.state, warned.blocks) == ("superseded", "warn", False)


def test_small_relations_are_not_judged_alone() -> None:
    """Three facts of a relation say nothing about it."""
    made = check(report(P54=metric(0.0, 0.0, 0.5, n=3)), 0.0, GateConfig())
    assert "worst_relation" not in {c.name for c in made}


def test_the_alarm_comes_before_the_collapse() -> None:
    """A warning bound crossed, or a trend that leaves the bound with the next release."""
    config = GateConfig()
    [alarm] = capacity(check(report(norm_ratio=metric(1.2)), 0.0, config), [], config)
    assert "norm_ratio" in alarm and "Re-base" in alarm
    past = [(f"v{i}", report(kl=metric(kl, kl, kl))) for i, kl in enumerate((0.004, 0.009))]
    now = check(report(kl=metric(0.015, 0.015, 0.015)), 0.0, config)
    [alarm] = capacity(now, past, config)
    assert "0.004, 0.009, 0.015" in alarm and "next release" in alarm
    steady = check(report(kl=metric(0.009, 0.009, 0.009)), 0.0, config)
    assert not capacity(steady, past[1:] * 2, config)


def test_the_verdict_and_the_search_are_written(tmp_path: Path) -> None:
    """A failing batch is searched once, for the checks that fail; a sound one never, nor one whose
    numbers are only too few."""
    asked: list[Sequence[str]] = []

    def find(names: Sequence[str], out: StageDir) -> Search:
        asked.append(names)
        return Search()

    def run(made: Any, config: GateConfig) -> Any:
        inputs = GateInputs(
            report=made, num_planned=10, num_quarantined=0, config=config, find=find
        )
        return gate(inputs, StageDir(tmp_path), InProcessRunner())

    assert run(report(), GateConfig())["passed"] and not asked
    verdict = run(report(leak=BROKEN["leak"][1]), GateConfig())
    assert not verdict["passed"] and asked == [["leak"]]
    assert "leak is 0.3" in verdict["failed"][0]
    run(report(leak=BROKEN["leak"][1]), GateConfig(bisect=False))
    run(report(contamination=BROKEN["contamination"][1]), GateConfig())  # no edit's fault
    few = run(report(leak=metric(0.0, 0.0, 0.3, n=9)), GateConfig())
    assert not few["passed"] and len(asked) == 1


def test_what_is_no_number_does_not_pass(tmp_path: Path) -> None:
    """A report has null for NaN and infinity: it fails its check instead of being left out."""
    lost = metric(None)  # type: ignore[arg-type]
    broken = report(kl=lost, perplexity=lost, NS=lost)
    states = {c.name: c for c in check(broken, 0.0, GateConfig()) if c.state != "pass"}
    assert states.keys() == {"kl", "perplexity_ratio", "NS_drop"}
    assert all(c.blocks and "no finite number" in c.sentence for c in states.values())
    inputs = GateInputs(report=broken, num_planned=1, num_quarantined=0, config=GateConfig())
    verdict = gate(inputs, StageDir(tmp_path), InProcessRunner())
    assert not verdict["passed"] and (tmp_path / "gate.json").exists()
