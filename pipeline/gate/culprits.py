"""Search a failing batch for culprits, and for edits that the weights have no room for, with the
editor and the evaluation of the edition itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.files.atomic import write_json
from infra.files.digest import digest_of
from infra.storage.stage_dir import SHARDS, StageDir
from pipeline.evaluate.output import REPORT
from pipeline.gate.bisection import MAX_TRIALS, Group, Search, find_room, search
from pipeline.gate.bounds import GateConfig
from pipeline.gate.checks import check
from pipeline.plan.edits import PlannedEdit
from pipeline.plan.lanes import by_priority, by_subject


def find_culprits(
    edits: Sequence[PlannedEdit],
    p_targets: Mapping[str, float | None],
    names: Sequence[str],
    *,
    solve: Callable[[Sequence[PlannedEdit], StageDir], Any],
    judge: Callable[[Sequence[PlannedEdit], Path, StageDir], Any],
    config: GateConfig,
    out: StageDir,
) -> Search:
    """Edit the base with parts of the batch, and evaluate each, until the culprits are found.

    If the number of the edits is to blame, or their interaction, the capacity is measured instead:
    how many edits pass together in the weights, those of the highest priority first, without the
    culprits among them.

    edits      the batch
    p_targets  edit id -> probability of the target that the editor reached; None if unknown
    names      checks that the batch fails; a part is judged by these only, and by their values
               instead of their intervals, which are wide for a small part
    solve      edits the base with some edits, and writes the delta into a directory
    judge      evaluates the delta of a directory, and writes the report into another one
    out        directory of the gate stage; outcomes of trials are kept in its shards and reused
               after an interruption
    """

    def attempt(ids: Group) -> Sequence[str]:
        place = out.path / SHARDS / digest_of([sorted(ids), list(names)])[:16]
        outcome = place.with_suffix(".json")
        if not outcome.exists():
            wanted = set(ids)
            chosen = [edit for edit in edits if edit.id in wanted]
            solved, judged = StageDir(place / "edit"), StageDir(place / "evaluate")
            for directory in (solved, judged):
                directory.path.mkdir(parents=True, exist_ok=True)
            solve(chosen, solved)
            judge(chosen, solved.path, judged)
            report = json.loads((judged.path / REPORT).read_text(encoding="utf-8"))
            checks = [c for c in check(report, 0.0, config) if c.name in names]
            write_json(outcome, [c.sentence for c in checks if c.state == "fail"])
            shutil.rmtree(place)
        done = len(list(outcome.parent.glob("*.json")))
        out.progress(done, MAX_TRIALS, f"search for culprits, at most {MAX_TRIALS} trials")
        return json.loads(outcome.read_text(encoding="utf-8"))

    in_weights = [edit for edit in edits if edit.lane == "weights"]
    found = search(suspects(edits, p_targets), attempt, stop_at_number=bool(in_weights))
    if found.interactions:
        culprits = {i for trial in found.culprits for i in trial.ids}
        rest = [edit for edit in in_weights if edit.id not in culprits]
        groups = [tuple(edit.id for edit in group) for group in by_priority(rest)]
        found.room = find_room(groups, attempt, found, all_fail=len(rest) == len(edits))
    return found


def suspects(edits: Sequence[PlannedEdit], p_targets: Mapping[str, float | None]) -> list[Group]:
    """Edits grouped by subject; groups in which a target has a low probability come first.

    A target of unknown probability counts as 1.
    """
    hardness = {
        group: min(p if (p := p_targets.get(i)) is not None else 1.0 for i in group)
        for group in (tuple(edit.id for edit in group) for group in by_subject(edits))
    }
    return sorted(hardness, key=lambda group: (hardness[group], group))
