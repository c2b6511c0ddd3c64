"""Stage 6: solve all edits of the plan together, from the base model, into one delta.

Every edition solves all of its edits anew in one batch (re-base), so superseded edits leave no
trace and errors do not add up over releases. The two slow parts are done by many workers and cached
by content: the statistics of the base model, and the optimised value of each request. An
interrupted run and the next edition reuse both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from editors.deltas.delta import Delta
from editors.request import EditRequest, Wording
from infra.errors import EditError
from infra.execution.runner import Runner
from infra.files.atomic import make_directory
from infra.files.tensors import save_tensors
from infra.models.checkpoint import Checkpoint
from infra.models.loading import ModelRef
from infra.storage.identity import NO_IDENTITY
from infra.storage.stage_dir import SHARDS, StageDir
from infra.telemetry.progress import Meter
from pipeline.edit.compose import keep
from pipeline.edit.config import EditConfig, paragraphs
from pipeline.edit.group import PEAKS, EditGroup, greatest
from pipeline.edit.output import DELTA, REPORT_SCHEMA, REPORTS, WEIGHTS, counts_of
from pipeline.edit.worker import EditJob, EditWorker, MakeEditWorker


class Editable(Protocol):
    """An edit, as far as the stage has to know it."""

    @property
    def id(self) -> str:
        """Id of the edit, which its report has too."""
        ...

    def request(self) -> EditRequest:
        """The request for the editor. Raises EditError if none can be made."""
        ...


@dataclass(frozen=True, kw_only=True)
class EditInputs:
    """Inputs of the edit stage."""

    edits: Sequence[Editable]
    beside: frozenset[str] = frozenset()
    """Ids of the edits in the second lane, which the editor `config.over` makes; `config.editor`
    makes all others."""
    preserved: Sequence[str]
    """Statements about other subjects that the editor is given to leave unchanged."""
    relations: Mapping[str, tuple[Wording, ...]]
    """What prompts may be about (`editors.editor.EditorCall.relations`)."""
    base: ModelRef
    """The unedited model."""
    config: EditConfig
    device: str
    """Where the model runs: `cpu`, or `cuda` with or without a number."""
    dtype: str
    """Dtype of the computation."""
    cache: Path = field(metadata=NO_IDENTITY)
    """Directory of cached statistics and values."""


def edit(inputs: EditInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the delta, the edited weights in the base's dtype, and a report of each edit.

    Statistics and values are computed by as many workers as the runner has room for, the delta by
    one; or all of it by a group of processes (`pipeline/edit/group.py`), where the settings ask for
    one. Where edits are in two lanes, the editor of each edits the same base, and their deltas are
    joined. Returns counts: edits, edits by status, the delta's own counts, of two lanes the edits
    that were made in each, and of a group the greatest memory of each rank.
    """
    lanes = inputs.config.lanes
    parts = {
        place: [e for e in inputs.edits if (e.id in inputs.beside) == (place == "edit.over")]
        for place in lanes
    }
    used = [place for place, edits in parts.items() if edits]
    if not used:
        save_tensors({}, out.path / WEIGHTS)
        Delta().save(out.path / DELTA)
        out.write_table(REPORTS, REPORT_SCHEMA.empty_table())
        return {"edits": 0, "status": {}, **Delta().counts()}
    if len(used) == 1:
        return _edit_lane(inputs, lanes[used[0]], inputs.edits, out.path, out, runner)
    made = {place: out.path / SHARDS / place for place in used}
    counts: dict[str, int] = {}
    peaks: list[list[dict[str, int]]] = []
    for place, lane in zip(used, ("weights", "beside"), strict=True):
        make_directory(made[place])
        own = _edit_lane(inputs, lanes[place], parts[place], made[place], out, runner)
        counts[lane] = own["status"]["edited"]
        peaks.append(own.get(PEAKS, []))
    joined = _join([*made.values()], Checkpoint(inputs.base.path), out)
    return {**joined, "lanes": counts, **greatest(peaks)}


def _join(lanes: Sequence[Path], base: Checkpoint, out: StageDir) -> dict[str, Any]:
    """Write the deltas and reports of several lanes as one; return the counts of the stage."""
    first, *others = (Delta.load(lane / DELTA) for lane in lanes)
    delta = first.concatenate(*others)
    keep(delta, base, out.path)
    reports = pa.concat_tables([pq.read_table(lane / REPORTS) for lane in lanes])
    out.write_table(REPORTS, reports)
    return counts_of(reports, delta)


def _edit_lane(
    inputs: EditInputs,
    config: EditConfig,
    edits: Sequence[Editable],
    folder: Path,
    out: StageDir,
    runner: Runner,
) -> dict[str, Any]:
    """Edit the base with the editor of one lane; write delta, weights and reports into a folder of
    the stage's directory, and return counts."""
    preserved = inputs.preserved
    general = tuple(paragraphs(config))
    requests, malformed = _requests(edits)
    job = EditJob(
        base=inputs.base,
        requests=requests,
        malformed=malformed,
        relations=inputs.relations,
        corpora=(general, tuple(preserved)) if preserved and config.preserve_share else (general,),
        config=config,
        device=inputs.device,
        dtype=inputs.dtype,
        cache=inputs.cache,
        out=out.path,
        folder=folder,
    )
    resources = config.resources(inputs.device)
    if config.in_group:
        place = out.path / SHARDS / "group"
        make_directory(place)
        return runner.group(EditGroup(job), size=config.workers, resources=resources, folder=place)

    def share_out(phase: str, tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
        meter = Meter(out.progress, phase, len(tasks))
        results = []
        for result in runner.map(MakeEditWorker(job), tasks, resources=resources):
            results.append(result)
            meter.add(1)
        return results

    if job.fits:
        unfitted = job.unfitted()
        parts = [(EditWorker.fit, *part) for part in job.unfitted_parts(unfitted)]
        share_out("statistics", parts)
        share_out("statistics merged", [(EditWorker.merge, c) for c in unfitted])
    [work] = share_out("requests sorted", [(EditWorker.prepare,)])
    left = sum(map(len, work.groups))
    total = len(work.requests) - len(work.refused)
    if work.groups:
        meter = Meter(out.progress, "values", total, found=total - left, unit="edits")
        tasks = [(EditWorker.find_values, group) for group in work.groups]
        found = runner.map(MakeEditWorker(job), tasks, resources=resources)
        for group, loss in zip(work.groups, found, strict=True):
            meter.add(len(group), **loss)
    [counts] = share_out("solve", [(EditWorker.solve, work)])
    return counts


def _requests(edits: Sequence[Editable]) -> tuple[tuple[EditRequest, ...], dict[str, str]]:
    """The requests of all edits that have one; edit id -> reason for the others."""
    requests: list[EditRequest] = []
    malformed: dict[str, str] = {}
    for planned in edits:
        try:
            requests.append(planned.request())
        except EditError as error:
            malformed[planned.id] = str(error)
    return tuple(requests), malformed
