"""Stage 6: solve all edits of the plan together, from the base model, into one delta.

Every edition solves all of its edits anew in one batch (re-base), so superseded edits leave no
trace and errors do not add up over releases. The two slow parts are done by many workers and cached
by content: the statistics of the base model, and the optimised value of each request. An
interrupted run and the next edition reuse both.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from editors.deltas.delta import Delta
from editors.request import EditRequest, Wording
from infra.errors import EditError
from infra.execution.runner import Resources, Runner
from infra.files.tensors import is_whole, save_tensors
from infra.models.loading import ModelRef
from infra.storage.identity import NO_IDENTITY
from infra.storage.stage_dir import StageDir
from infra.telemetry.progress import Meter
from pipeline.edit.config import EditConfig, paragraphs
from pipeline.edit.output import DELTA, REPORT_SCHEMA, REPORTS, WEIGHTS
from pipeline.edit.worker import FIT_PARTS, EditJob, EditWorker, MakeEditWorker

log = logging.getLogger(__name__)


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
    one. Returns counts: edits, edits by status, and the delta's own counts.
    """
    config, preserved = inputs.config, inputs.preserved
    if not inputs.edits:
        save_tensors({}, out.path / WEIGHTS)
        Delta().save(out.path / DELTA)
        out.write_table(REPORTS, REPORT_SCHEMA.empty_table())
        return {"edits": 0, "status": {}, **Delta().counts()}
    general = tuple(paragraphs(config))
    requests, malformed = _requests(inputs.edits)
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
    )
    resources = Resources(num_cpus=config.threads, num_gpus=float(inputs.device.startswith("cuda")))

    def share_out(phase: str, tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
        meter = Meter(out.progress, phase, len(tasks))
        results = []
        for result in runner.map(MakeEditWorker(job), tasks, resources=resources):
            results.append(result)
            meter.add(1)
        return results

    if job.fits:
        unfitted = [c for c in range(len(job.corpora)) if not _is_cached(job.statistics_path(c))]
        parts = [(EditWorker.fit, c, i) for c in unfitted for i in range(FIT_PARTS)]
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


def _is_cached(cached: Path) -> bool:
    """Whether a file of the cache is there and whole; one that is damaged is dropped, with a
    line."""
    if not cached.exists():
        return False
    if not (whole := is_whole(cached)):
        log.warning("%s is damaged: it is made again", cached)
        cached.unlink(missing_ok=True)
    return whole


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
