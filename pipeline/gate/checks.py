"""The checks of the gate: each reads a number from a report and compares it with its bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.evaluate.metrics.health.perplexity import exp
from pipeline.evaluate.output import Report
from pipeline.gate.bounds import Bound, GateConfig

MIN_RELATION = 30
"""Least number of facts for a relation to be checked by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A number that a check has read from a report, with its 95 % interval."""

    value: float
    n: int
    """Size of the sample behind the number."""
    low: float | None = None
    """Lower end of the interval; None if there is no interval."""
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One bound, the candidate's number, and the outcome of their comparison."""

    name: str
    """A key of `CHECKS`, or `quarantined`."""
    value: float | None
    """None if it was not measured or is not finite."""
    low: float | None
    """Lower end of the number's 95 % interval; None if it has no interval."""
    high: float | None
    n: int
    """Size of the sample behind the number."""
    bound: float
    """The bound that counts, without the warning bound."""
    at_least: bool
    """Whether the bound is the least value allowed; if not, it is the greatest."""
    state: str
    """pass, warn (outside the warning bound), unproven (the interval reaches over the bound), fail,
    or not measured."""
    blocks: bool
    """Whether the outcome stops the release."""
    why: str
    """The reason for the bound."""

    @property
    def sentence(self) -> str:
        """What was measured, what is allowed, and by how much it is off, for a person to read."""
        if self.state == "not measured":
            return f"{self.name} was not measured: {self.why}. Add its family to evaluate.metrics."
        sign = "at least" if self.at_least else "at most"
        if self.value is None:
            return f"{self.name} is no finite number, allowed {sign} {self.bound:.4f}: {self.why}"
        interval = f" ({self.low:.4f} to {self.high:.4f})" if self.low is not None else ""
        said = f"{self.name} is {self.value:.4f}{interval}, allowed {sign} {self.bound:.4f}"
        if self.state == "fail":
            said += f" (off by {abs(self.value - self.bound):.4f})"
        elif self.state == "unproven":
            said += f" (the interval of n = {self.n} reaches over it)"
        return f"{said}: {self.why}"


def _metric(name: str, role: str = "candidate") -> Callable[[Report], Reading | None]:
    def read(report: Report) -> Reading | None:
        found = report["roles"].get(role, {}).get(name)
        return _reading(found) if found else None

    return read


def _fall(name: str, pair: str) -> Callable[[Report], Reading | None]:
    def read(report: Report) -> Reading | None:
        found = report["differences"].get(pair, {}).get(name)
        return _changed(found, lambda change: 0.0 - change) if found else None

    return read


def _perplexity_ratio(report: Report) -> Reading | None:
    found = report["differences"].get("candidate-base", {}).get("perplexity")
    return _changed(found, exp) if found else None


def _me_ppl_ratio(report: Report) -> Reading | None:
    base = report["roles"]["base"].get("ME-PPL")
    found = report["differences"].get("candidate-base", {}).get("ME-PPL")
    return _changed(found, lambda change: 1 + change / base["value"]) if found and base else None


def _worst_relation(report: Report) -> Reading | None:
    scores = [
        numbers["reliability"]
        for numbers in report["relations"].values()
        if numbers.get("reliability", {"n": 0})["n"] >= MIN_RELATION
    ]
    return _reading(min(scores, key=lambda score: score["value"])) if scores else None


def _reading(metric: Mapping[str, Any]) -> Reading:
    """The reading of a metric; a report has null for a number that is not finite, a reading NaN."""
    read = {key: metric[key] for key in ("value", "n", "low", "high")}
    return Reading(**read) if read["value"] is not None else Reading(value=math.nan, n=read["n"])


def _changed(difference: Mapping[str, Any], change: Callable[[float], float]) -> Reading:
    """A reading of a difference with a monotonic function applied to it and to its interval."""
    read = _reading(difference)
    if read.low is None or read.high is None:
        return Reading(value=change(read.value), n=read.n)
    ends = sorted((change(read.low), change(read.high)))
    return Reading(value=change(read.value), n=read.n, low=ends[0], high=ends[1])


CHECKS: dict[str, tuple[str | None, Callable[[Report], Reading | None], bool]] = {
    "ES": ("preference", _metric("ES"), True),
    "reliability": ("generation", _metric("reliability"), True),
    "PS": ("preference", _metric("PS"), True),
    "generality": ("generation", _metric("generality"), True),
    "worst_relation": ("generation", _worst_relation, True),
    "retention_drop": ("retention", _fall("retention", "candidate-parent"), False),
    "superseded": ("generation", _metric("superseded"), False),
    "superseded_paraphrase": ("generation", _metric("superseded_paraphrase"), False),
    "NS_drop": ("preference", _fall("NS", "candidate-base"), False),
    "leak": ("locality", _metric("leak"), False),
    "near_agreement": ("locality", _metric("near_agreement"), True),
    "subject_agreement": ("locality", _metric("subject_agreement"), True),
    "neutral_agreement": ("locality", _metric("neutral_agreement"), True),
    "chat_ES": ("chat", _metric("chat_ES"), True),
    "chat_reliability": ("chat", _metric("chat_reliability"), True),
    "chat_PS": ("chat", _metric("chat_PS"), True),
    "chat_generality": ("chat", _metric("chat_generality"), True),
    "chat_superseded": ("chat", _metric("chat_superseded"), False),
    "chat_near_agreement": ("chat", _metric("chat_near_agreement"), True),
    "chat_subject_agreement": ("chat", _metric("chat_subject_agreement"), True),
    "chat_plain_agreement": ("chat", _metric("chat_plain_agreement"), True),
    "kl": ("text", _metric("kl"), False),
    "perplexity_ratio": ("text", _perplexity_ratio, False),
    "me_ppl_ratio": ("text", _me_ppl_ratio, False),
    "norm_ratio": (None, _metric("norm_ratio"), False),
    "effective_rank": (None, _metric("effective_rank"), False),
    "energy": ("weights", _metric("energy"), False),
    "non_finite": (None, _metric("non_finite"), False),
    "contamination": (None, _metric("contamination"), False),
    "export_loss": (None, _metric("export_loss"), False),
    "adapter_loss": (None, _metric("adapter_loss"), False),
    "capability_drop": (None, _fall("capability", "candidate-base"), False),
}
"""Check -> (family of metrics that it needs or None, function that reads its number from a report,
whether more is better). A check whose family was not measured fails; a check is left out if there
was nothing to measure, or if its family says nothing of the model."""

BISECTED = (
    *("ES", "reliability", "PS", "generality", "superseded", "superseded_paraphrase"),
    *("NS_drop", "leak", "near_agreement", "neutral_agreement", "kl", "perplexity_ratio"),
    *("me_ppl_ratio", "non_finite", "norm_ratio"),
    *("chat_superseded", "chat_near_agreement", "chat_plain_agreement"),
)
"""Checks that a few edits can make the whole batch fail; only these start a search for culprits.
Whether facts are known in a chat is not among them: an editor that is not given the template fails
in most of them alike."""


def check(report: Report, quarantined: float, config: GateConfig) -> list[Check]:
    """Compare a report with every bound. A pure function.

    quarantined  share of planned edits that were refused or set aside, 0 to 1
    """
    checks, known = [], {None, *report["families"], *report["left_out"]}
    for name, (family, read, at_least) in CHECKS.items():
        bound: Bound = getattr(config, name)
        reading = read(report)
        if reading is None and family not in known:
            checks.append(_unmeasured(name, bound, at_least))
        elif reading is not None and reading.n:
            checks.append(_judge(name, reading, bound, at_least))
    share = Reading(value=quarantined, n=max(1, report["data"]["cases"]))
    return [*checks, _judge("quarantined", share, config.quarantined, False)]


def _judge(name: str, reading: Reading, bound: Bound, at_least: bool) -> Check:
    sign = 1 if at_least else -1
    edge = reading.low if at_least else reading.high
    state = "pass"
    if sign * (reading.value - bound.bound) < 0 or not math.isfinite(reading.value):
        state = "fail"
    elif edge is not None and sign * (edge - bound.bound) < 0:
        state = "unproven"
    elif bound.warn is not None and sign * (reading.value - bound.warn) < 0:
        state = "warn"
    does = {"fail": bound.action, "unproven": bound.unproven}.get(state, "pass")
    if does == "pass" and state == "unproven":
        state = "pass"
    finite = math.isfinite(reading.value)
    return Check(
        name=name,
        value=reading.value if finite else None,
        low=reading.low,
        high=reading.high,
        n=reading.n,
        bound=bound.bound,
        at_least=at_least,
        state=state,
        blocks=does == "block" and bound.action == "block",
        why=bound.why,
    )


def _unmeasured(name: str, bound: Bound, at_least: bool) -> Check:
    return Check(
        name=name,
        value=None,
        low=None,
        high=None,
        n=0,
        bound=bound.bound,
        at_least=at_least,
        state="not measured",
        blocks=bound.action == "block",
        why=bound.why,
    )
