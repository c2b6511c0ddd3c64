"""Stage 8: is the candidate better, and unharmed? A report against bounds, each with its reason.

A bound is met by the interval, not by the point: a number whose interval reaches over its bound is
`unproven`, and blocks like a failure unless the config says otherwise. All blocking checks have to
pass, so no correction for their number is due (an intersection-union test).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from infra.errors import GateError
from infra.storage import StageDir
from pipeline.bisect import Search

Report = Mapping[str, Any]
GATE = "gate.json"
MIN_RELATION = 30
"""Facts that a relation needs for its score to count by itself."""
BISECTED = (
    *("ES", "reliability", "PS", "generality", "superseded", "superseded_paraphrase"),
    *("NS_drop", "leak", "near_agreement", "neutral_agreement", "kl", "perplexity_ratio"),
    *("me_ppl_ratio", "non_finite", "norm_ratio"),
)
"""Checks that a few edits may fail for all."""
CAPACITY = ("norm_ratio", "effective_rank", "energy", "kl", "perplexity_ratio")
"""Checks whose warning, or trend over releases, says that the weights are filling up."""


class Bound(BaseModel):
    """One bound of the gate. A bare number in the config sets `bound` and leaves the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bound: float
    warn: float | None = None
    """A bound that only warns, before the one that counts."""
    action: Literal["block", "warn"] = "block"
    """What a failure does."""
    unproven: Literal["block", "warn", "pass"] = "block"
    """What a number does that is inside its bound while its interval is not."""
    why: str
    """The reason, for whoever is told of a failure."""


def _at(bound: float, why: str, **more: Any) -> Any:
    return Field(default=Bound(bound=bound, why=why, **more))


class GateConfig(BaseModel):
    """Bounds of a release. They belong to the base model: a small one needs weaker ones, which are
    printed as such with every release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ES: Bound = _at(0.90, "the target of a new edit must be the likeliest answer")
    """Least share of new edits whose target beats every alternative."""
    reliability: Bound = _at(0.70, "a preferred answer that is never given helps nobody")
    """Least share of new edits that the model answers right by itself."""
    PS: Bound = _at(0.60, "a fact known in one phrasing only is a memorised string")
    """Least share of held-out paraphrases on which the target beats every alternative."""
    generality: Bound = _at(0.50, "a fact must be given in other words too")
    """Least share of held-out paraphrases that the model answers right by itself."""
    worst_relation: Bound = _at(0.50, "means hide holes", unproven="warn")
    """Least reliability of any relation with thirty facts or more."""
    retention_drop: Bound = _at(0.05, "earlier releases' facts must survive")
    """Greatest fall, below the parent release, of the share of its facts answered right."""
    superseded: Bound = _at(0.05, "an old value must be gone")
    """Greatest share of changed facts whose own prompt still gets an old value."""
    superseded_paraphrase: Bound = _at(0.10, "in other words too")
    """Greatest share of paraphrases that get one."""
    NS_drop: Bound = _at(0.05, "facts about other subjects must not move")
    """Greatest fall of the neighbourhood score below the base's."""
    leak: Bound = _at(0.05, "other subjects must not get an edit's answer")
    """Greatest share of neighbours answered with the edit's target."""
    near_agreement: Bound = _at(0.90, "nor may what is said of them change")
    """Least share of neighbours whose continuation is the base's."""
    subject_agreement: Bound = _at(0.90, "the subject's other facts must not move")
    """Least share of the edited subjects' other prompts whose continuation is the base's."""
    neutral_agreement: Bound = _at(0.80, "general text must continue as it did", unproven="warn")
    """Least share of beginnings of general text whose continuation is the base's."""
    kl: Bound = _at(0.02, "predictions on general text must stay what they were")
    """Greatest KL drift, nats a token."""
    perplexity_ratio: Bound = _at(1.05, "general text must stay as likely as it was", warn=1.02)
    """Greatest perplexity on general text, as a ratio to the base's."""
    me_ppl_ratio: Bound = _at(1.10, "no sentence may become absurd", unproven="warn")
    """Greatest mean sentence perplexity, as a ratio to the base's."""
    norm_ratio: Bound = _at(1.5, "weights grow before a model collapses", warn=1.1)
    """Greatest ratio of an edited matrix's Frobenius norm to the base's, or its inverse."""
    effective_rank: Bound = _at(512, "an adapter of the change holds no more", action="warn")
    """Greatest effective rank of a change."""
    energy: Bound = _at(0.10, "edits must not answer for inputs that are not theirs", action="warn")
    """Greatest share of an edited module's output that has changed on general text."""
    non_finite: Bound = _at(0, "a value that is no number spoils every answer")
    """Edited values that are not finite."""
    contamination: Bound = _at(0, "what the editor has seen proves nothing")
    """Greatest share of held-out prompts that the editor was given."""
    export_loss: Bound = _at(0.02, "what is served must know what was edited")
    """Greatest share of facts known in memory and lost in the export."""
    capability_drop: Bound = _at(0.02, "users notice", unproven="warn")
    """Greatest fall of the mean accuracy on capability tasks."""
    quarantined: Bound = _at(0.05, "a batch that loses many edits is unsound")
    """Greatest share of planned edits that were refused or set aside."""

    bisect: bool = True
    """Whether a batch that fails is searched for the edits that make it fail."""

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A number or a table changes what it names, and leaves the rest of the default."""
        merged = dict(raw)
        for name, given in raw.items():
            field = cls.model_fields.get(name)
            if field is None or not isinstance(field.default, Bound):
                continue
            if isinstance(given, (int, float)) and not isinstance(given, bool):
                given = {"bound": given}
            if isinstance(given, Mapping):
                merged[name] = {**field.default.model_dump(), **given}
        return merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A number of the report as a check reads it."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One bound and how the candidate stands to it."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    bound: float
    at_least: bool
    state: str
    """pass, warn (outside the warning bound), unproven, fail, or not measured."""
    blocks: bool
    why: str

    @property
    def sentence(self) -> str:
        """For a person: what was measured, what is allowed, by how much it is off."""
        if self.value is None:
            return f"{self.name} was not measured: {self.why}. Add its family to evaluate.metrics."
        sign = "at least" if self.at_least else "at most"
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
        return _reading(found) if found and found["value"] is not None else None

    return read


def _fall(name: str, pair: str) -> Callable[[Report], Reading | None]:
    def read(report: Report) -> Reading | None:
        found = report["differences"].get(pair, {}).get(name)
        if not found or found["value"] is None:
            return None
        return Reading(value=-found["value"], n=found["n"], low=-found["high"], high=-found["low"])

    return read


def _perplexity_ratio(report: Report) -> Reading | None:
    found = report["differences"].get("candidate-base", {}).get("perplexity")
    if not found or found["value"] is None:
        return None
    return Reading(n=found["n"], **{key: math.exp(found[key]) for key in ("value", "low", "high")})


def _me_ppl_ratio(report: Report) -> Reading | None:
    base = report["roles"]["base"].get("ME-PPL")
    found = report["differences"].get("candidate-base", {}).get("ME-PPL")
    if not found or not base:
        return None
    ends = {key: 1 + found[key] / base["value"] for key in ("value", "low", "high")}
    return Reading(n=found["n"], **ends)


def _worst_relation(report: Report) -> Reading | None:
    scores = [
        numbers["reliability"]
        for numbers in report["relations"].values()
        if numbers.get("reliability", {"n": 0})["n"] >= MIN_RELATION
    ]
    return _reading(min(scores, key=lambda score: score["value"])) if scores else None


def _reading(metric: Mapping[str, Any]) -> Reading:
    return Reading(**{key: metric[key] for key in ("value", "n", "low", "high")})


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
    "kl": ("text", _metric("kl"), False),
    "perplexity_ratio": ("text", _perplexity_ratio, False),
    "me_ppl_ratio": ("text", _me_ppl_ratio, False),
    "norm_ratio": (None, _metric("norm_ratio"), False),
    "effective_rank": (None, _metric("effective_rank"), False),
    "energy": ("weights", _metric("energy"), False),
    "non_finite": (None, _metric("non_finite"), False),
    "contamination": (None, _metric("contamination"), False),
    "export_loss": (None, _metric("export_loss"), False),
    "capability_drop": (None, _fall("capability", "candidate-base"), False),
}
"""Check -> (the family that it needs, its number from the report, whether more is better). A check
of a family that was not measured fails; one without anything to measure is left out."""


def gate(
    report: Report,
    *,
    num_planned: int,
    num_quarantined: int,
    config: GateConfig,
    history: Sequence[tuple[str, Report]] = (),
    find: Callable[[], Search] | None = None,
    out: StageDir,
) -> dict[str, Any]:
    """Write `gate.json`; return the verdict. A failed gate is an output like any other.

    `history`: versions and reports of the releases before, oldest first, for the trend. `find`
    searches a failing batch for the edits to blame.
    """
    checks = check(report, num_quarantined / max(1, num_planned), config)
    alarms = capacity(checks, history, config)
    passed = not any(c.blocks for c in checks)
    searched = None
    if find and config.bisect and any(c.blocks and c.name in BISECTED for c in checks):
        searched = find().as_json()
    out.write_json(
        GATE,
        {
            "schema": 2,
            "passed": passed,
            "checks": [asdict(c) for c in checks],
            "alarms": alarms,
            "search": searched,
        },
    )
    return {
        "passed": passed,
        "culprits": searched["culprits"] if searched else {},
        "failed": [c.sentence for c in checks if c.blocks],
        "warnings": [c.sentence for c in checks if not c.blocks and c.state != "pass"] + alarms,
    }


def check(report: Report, quarantined: float, config: GateConfig) -> list[Check]:
    """The report against every bound; pure."""
    checks = []
    for name, (family, read, at_least) in CHECKS.items():
        bound: Bound = getattr(config, name)
        reading = read(report)
        if reading is None and family is not None and family not in report["families"]:
            checks.append(_unmeasured(name, bound, at_least))
        elif reading is not None and reading.n:
            checks.append(_judge(name, reading, bound, at_least))
    share = Reading(value=quarantined, n=1)
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
    return Check(
        name=name,
        **asdict(reading),
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


def capacity(
    checks: Sequence[Check], history: Sequence[tuple[str, Report]], config: GateConfig
) -> list[str]:
    """What says that the weights are filling up: a warning bound crossed, or a trend over releases
    that leaves its bound with the next one."""
    alarms = [
        f"capacity: {c.sentence}. Re-base, plan fewer edits, or route some to the fact sheet."
        for c in checks
        if c.name in CAPACITY and c.state in ("warn", "fail") and c.value is not None
    ]
    for now in checks:
        if now.name not in CAPACITY or now.value is None or now.state != "pass":
            continue
        read = CHECKS[now.name][1]
        past = [reading.value for _, report in history if (reading := read(report))]
        if len(past) < 2:
            continue
        following = _next([*past, now.value])
        if following > now.bound:
            alarms.append(
                f"capacity: {now.name} goes {', '.join(f'{v:.3f}' for v in [*past, now.value])}; "
                f"the next release would be at {following:.3f}, allowed at most {now.bound:.3f}. "
                "Re-base before it."
            )
    return alarms


def _next(values: Sequence[float]) -> float:
    """Where the least-squares line through the values is one step later."""
    n, mid = len(values), (len(values) - 1) / 2
    mean = sum(values) / n
    slope = sum((i - mid) * v for i, v in enumerate(values)) / sum((i - mid) ** 2 for i in range(n))
    return mean + slope * (n - mid)


def require_passed(version: str, failed: Sequence[str]) -> None:
    """Raise GateError for a candidate outside its bounds."""
    if failed:
        raise GateError(
            f"edition {version} is not released: {'; '.join(failed)}. The production alias stays "
            "where it was. Change the edit settings or, with a reason, the bounds in [gate], and "
            "run again with --replace."
        )
