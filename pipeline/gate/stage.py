"""Stage 8: compare the evaluation's report with bounds, to decide whether the model is released.

The whole 95 % interval has to be within the bound. A number whose interval reaches over its bound
is `unproven`, and blocks like a failure unless the config says otherwise. All blocking checks have
to pass, so no correction for multiple tests is needed (an intersection-union test, Berger 1982).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.errors import GateError
from infra.execution.runner import Runner
from infra.storage.identity import NO_IDENTITY
from infra.storage.stage_dir import StageDir
from pipeline.evaluate.output import Report
from pipeline.gate.bisection import Search
from pipeline.gate.bounds import GateConfig
from pipeline.gate.capacity import capacity
from pipeline.gate.checks import BISECTED, check
from pipeline.gate.output import GATE, PAGE


@dataclass(frozen=True, kw_only=True)
class GateInputs:
    """Inputs of the gate stage."""

    report: Report
    """The evaluation's report on the candidate."""
    num_planned: int
    """All edits of the plan."""
    num_quarantined: int
    """Edits among them that were refused or set aside."""
    config: GateConfig
    history: Sequence[tuple[str, Report]] = ()
    """Versions and reports of earlier releases, oldest first, for the alarms."""
    searched: Mapping[str, Any] | None = None
    """Record of the search whose culprits were left out of this batch, and whose edits over the
    capacity were moved, if there was one."""
    find: Callable[[Sequence[str], StageDir], Search] | None = field(
        default=None, metadata=NO_IDENTITY
    )
    """Searches a failing batch for culprits, and for edits that the weights have no room for, given
    the names of the checks that fail and the directory of this stage."""
    explain: Callable[[Mapping[str, Any]], str] | None = field(default=None, metadata=NO_IDENTITY)
    """Makes the HTML page of a failed candidate from the content of `gate.json`."""


def gate(inputs: GateInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write `gate.json`, and the page of a candidate that failed; return the outcome as counts.

    A candidate that fails is no error here (`require_passed`).
    """
    config, searched = inputs.config, inputs.searched
    checks = check(inputs.report, inputs.num_quarantined / max(1, inputs.num_planned), config)
    alarms = capacity(checks, inputs.history, config)
    passed = not any(c.blocks for c in checks)
    failed = [c.name for c in checks if c.blocks and c.state == "fail" and c.name in BISECTED]
    if inputs.find and config.bisect and failed:
        searched = {"checks": failed, **inputs.find(failed, out).as_json()}
    verdict = {
        "schema": 2,
        "passed": passed,
        "checks": [asdict(c) for c in checks],
        "alarms": alarms,
        "search": searched,
        "left_out": dict(inputs.report["left_out"]),
    }
    out.write_json(GATE, verdict)
    if not passed and inputs.explain:
        out.write_text(PAGE, inputs.explain(verdict))
    return {
        "passed": passed,
        "culprits": searched["culprits"] if searched else {},
        "moved": len(((searched or {}).get("capacity") or {}).get("moved", ())),
        "failed": [c.sentence for c in checks if c.blocks],
        "warnings": [c.sentence for c in checks if not c.blocks and c.state != "pass"] + alarms,
    }


def require_passed(version: str, failed: Sequence[str]) -> None:
    """Raise GateError if there are failed checks; `failed` has a sentence for each."""
    if failed:
        raise GateError(
            f"edition {version} is not released: {'; '.join(failed)}. The production alias stays "
            "where it was. Change the edit settings or, with a reason, the bounds in [gate], and "
            "run again with --replace."
        )
