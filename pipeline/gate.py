"""Stage 8: is the candidate better, and unharmed? A report against bounds, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from infra.errors import GateError
from infra.storage import StageDir
from pipeline.metrics import paired_error

Report = Mapping[str, Mapping[str, Any]]


class GateConfig(BaseModel):
    """Bounds of a release. They belong to the base model: a small one needs weaker ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reliability_likelihood: float = Field(default=0.90, ge=0, le=1)
    """Least share of new edits whose target beats every alternative."""
    reliability_greedy: float = Field(default=0.70, ge=0, le=1)
    """Least share of new edits that the model answers right by itself."""
    generality_likelihood: float = Field(default=0.60, ge=0, le=1)
    """Least share of held-out paraphrases on which the target beats every alternative."""
    retention_drop: float = Field(default=0.01, ge=0, le=1)
    """Greatest fall, below the parent release, of the share of its edits answered right; a fall
    within two standard errors of the paired difference passes too, since few facts prove
    nothing."""
    superseded: float = Field(default=0.0, ge=0, le=1)
    """Greatest share of changed facts whose own prompt still gets an old value."""
    superseded_paraphrase: float = Field(default=0.05, ge=0, le=1)
    """Greatest share of paraphrases that get one; where the model falls back on a guess of the
    base, that guess may be an old value."""
    neighbourhood_drop: float = Field(default=0.05, ge=0, le=1)
    """Greatest fall of the neighbourhood score below the base's."""
    perplexity_ratio: float = Field(default=1.05, ge=1)
    """Greatest perplexity on general text, as a ratio to the base's."""
    quarantined: float = Field(default=0.05, ge=0, le=1)
    """Greatest share of planned edits that the editor refused."""


@dataclass(frozen=True, slots=True)
class Check:
    """One bound and how the candidate stands to it."""

    name: str
    value: float
    bound: float
    at_least: bool
    why: str

    @property
    def passed(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def sentence(self) -> str:
        """For a person: what was measured, what is allowed, by how much it is off."""
        sign = "at least" if self.at_least else "at most"
        off = "" if self.passed else f" (off by {abs(self.value - self.bound):.4f})"
        return f"{self.name} is {self.value:.4f}, allowed {sign} {self.bound:.4f}{off}: {self.why}"


CHECKS: dict[str, tuple[Callable[[Report, float], float], bool, str]] = {
    "reliability_likelihood": (
        lambda report, _: _value(report, "candidate", "reliability_likelihood"),
        True,
        "the release exists to bring these facts",
    ),
    "reliability_greedy": (
        lambda report, _: _value(report, "candidate", "reliability_greedy"),
        True,
        "a preferred answer that is never given helps nobody",
    ),
    "generality_likelihood": (
        lambda report, _: _value(report, "candidate", "generality_likelihood"),
        True,
        "a fact known in one phrasing only is a memorised string",
    ),
    "retention_drop": (
        lambda report, _: (
            (report["paired_retention"]["lost"] - report["paired_retention"]["gained"])
            / max(1, report["paired_retention"]["n"])
        ),
        False,
        "earlier releases' facts must survive",
    ),
    "superseded": (
        lambda report, _: _value(report, "candidate", "superseded"),
        False,
        "an old value must be gone",
    ),
    "superseded_paraphrase": (
        lambda report, _: _value(report, "candidate", "superseded_paraphrase", 0.0),
        False,
        "in other words too",
    ),
    "neighbourhood_drop": (
        lambda report, _: (
            _value(report, "base", "neighbourhood") - _value(report, "candidate", "neighbourhood")
        ),
        False,
        "facts about other subjects must not move",
    ),
    "perplexity_ratio": (
        lambda report, _: (
            _value(report, "candidate", "perplexity") / _value(report, "base", "perplexity")
        ),
        False,
        "general text must stay as likely as it was",
    ),
    "quarantined": (
        lambda _, quarantined: quarantined,
        False,
        "a batch that loses many edits is unsound",
    ),
}
"""Check -> (its value from the report and the quarantined share, whether more is better,
reason)."""


def gate(
    report: Report, *, num_planned: int, num_quarantined: int, config: GateConfig, out: StageDir
) -> dict[str, Any]:
    """Write `gate.json`; return the verdict. A failed gate is an output like any other."""
    checks = check(report, num_quarantined / max(1, num_planned), config)
    passed = all(c.passed for c in checks)
    rows = [{**asdict(c), "passed": c.passed} for c in checks]
    out.write_json("gate.json", {"schema": 1, "passed": passed, "checks": rows})
    return {"passed": passed, "failed": [c.sentence for c in checks if not c.passed]}


def check(report: Report, quarantined: float, config: GateConfig) -> list[Check]:
    """The report against every bound; pure."""
    bounds = config.model_dump()
    noise = 2 * paired_error(**report["paired_retention"])
    bounds["retention_drop"] = max(bounds["retention_drop"], noise)
    return [
        Check(name, float(value(report, quarantined)), bounds[name], at_least, why)
        for name, (value, at_least, why) in CHECKS.items()
    ]


def require_passed(version: str, failed: Sequence[str]) -> None:
    """Raise GateError for a candidate outside its bounds."""
    if failed:
        raise GateError(
            f"edition {version} is not released: {'; '.join(failed)}. The production alias stays "
            "where it was. Change the edit settings or, with a reason, the bounds in [gate], and "
            "run again with --replace."
        )


def _value(report: Report, role: str, metric: str, empty: float = 1.0) -> float:
    """A number of the report; `empty` where nothing could be measured, as without a parent."""
    return report.get(role, {}).get(metric, {"value": empty})["value"]
