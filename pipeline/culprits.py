"""The search of a failing batch for its culprits, with the real solve and the real evaluation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.storage import StageDir, digest_of, write_json
from infra.text import normalise
from pipeline.bisect import Group, Search, search
from pipeline.edits import PlannedEdit
from pipeline.evaluate import REPORT
from pipeline.gate import BISECTED, GateConfig, check

PROBES = "probes"


def find_culprits(
    edits: Sequence[PlannedEdit],
    p_targets: Mapping[str, float | None],
    *,
    solve: Callable[[Sequence[PlannedEdit], StageDir], Any],
    judge: Callable[[Sequence[PlannedEdit], Path, StageDir], Any],
    config: GateConfig,
    out: StageDir,
) -> Search:
    """Solve and evaluate parts of the batch, each from the base, until the culprits are found.

    Each probe's outcome is kept in `out`, and found there after an interruption. A part fails by
    points alone: its intervals are wide because it is small.
    """
    by_id = {edit.id: edit for edit in edits}

    def probe(ids: Group) -> Sequence[str]:
        place = out.path / PROBES / digest_of(sorted(ids))[:16]
        outcome = place.with_suffix(".json")
        if not outcome.exists():
            chosen = [edit for edit in edits if edit.id in ids]
            solved, judged = StageDir(place / "edit"), StageDir(place / "evaluate")
            for directory in (solved, judged):
                directory.path.mkdir(parents=True, exist_ok=True)
            solve(chosen, solved)
            judge(chosen, solved.path, judged)
            report = json.loads((judged.path / REPORT).read_text(encoding="utf-8"))
            checks = check(report, 0.0, config)
            failed = [c.sentence for c in checks if c.name in BISECTED and c.state == "fail"]
            write_json(outcome, failed)
            shutil.rmtree(place)
        return json.loads(outcome.read_text(encoding="utf-8"))

    return search(suspects(list(by_id.values()), p_targets), probe)


def suspects(edits: Sequence[PlannedEdit], p_targets: Mapping[str, float | None]) -> list[Group]:
    """Edits in groups of one subject, those that the editor found hardest first."""
    groups: dict[str, list[str]] = {}
    for edit in edits:
        groups.setdefault(normalise(edit.subject_label), []).append(edit.id)
    hardness = {
        group: min(p if (p := p_targets.get(i)) is not None else 1.0 for i in group)
        for group in map(tuple, groups.values())
    }
    return sorted(hardness, key=lambda group: (hardness[group], group))
