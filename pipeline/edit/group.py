"""The edit stage in a group of processes, all of which run the same program to its end.

Each rank holds the whole model and does every size-th task; or, where the weights are sharded, all
ranks do every task together, each a share of its rows. Either way they keep step: a rank that has
nothing to do meets the others at each of their steps, so that a collective fails in time where a
rank has died, however long a task takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from editors.base import Base
from infra.distributed.group import DistributedGroup, Group, local_device
from infra.distributed.zero import load_sharded
from infra.models.loading import load
from infra.storage.stage_dir import StageDir
from infra.telemetry.memory import peak_bytes
from infra.telemetry.progress import Meter
from pipeline.edit.worker import EditJob, EditWorker

PEAKS = "peak_bytes"
"""The count of the stage's record that has the greatest memory of each rank (`peak_bytes`)."""


@dataclass(frozen=True)
class EditGroup:
    """What each process of the group does. Picklable."""

    job: EditJob

    def __call__(self) -> dict[str, Any]:
        """Fit, find values and solve; on rank 0 return the stage's counts."""
        with _model(self.job) as (base, group):
            return _Rank(self.job, base, group).edit()


class _Rank:
    """One process of the group."""

    def __init__(self, job: EditJob, base: Base, group: Group) -> None:
        """
        base   the model; its own group is `group` where its weights are sharded
        group  the processes that edit
        """
        self.job, self.group = job, group
        self.worker = EditWorker(job, base, progress=self._keep_step)

    def edit(self) -> dict[str, Any]:
        """All of the stage's work on one lane."""
        job, worker, group = self.job, self.worker, self.group
        corpora = self._of_first(job.unfitted)
        parts = self._of_first(lambda: job.unfitted_parts(corpora))
        meter = self._meter("statistics", len(parts))
        for _ in self._each([(EditWorker.fit, *part) for part in parts]):
            meter.add(1)
        if group.rank == 0:
            for corpus in corpora:
                worker.merge(corpus)
        group.any(False)  # the statistics are there
        own = worker.prepare()
        work = self._of_first(lambda: own)  # the others may see fewer of the store's files
        groups = [(EditWorker.find_values, requests) for requests in work.groups]
        total = len(work.requests) - len(work.refused)
        left = sum(map(len, work.groups))
        meter = self._meter("values", total, found=total - left, unit="edits")
        for (_, requests), quality in self._each(groups):
            meter.add(len(requests), **quality)
        group.any(False)  # the values are there
        if job.sharded:
            counts = worker.solve(work)
            return counts | {PEAKS: group.gather([peak_bytes()])}
        peaks = group.gather([peak_bytes()])
        return worker.solve(work) | {PEAKS: [peak_bytes(), *peaks[1:]]} if group.rank == 0 else {}

    def _each(self, tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Do all tasks; yield each with its result, on every rank and in their order."""
        width = 1 if self.job.sharded else self.group.size
        for start in range(0, len(tasks), width):
            now = tasks[start : start + width]
            at = 0 if self.job.sharded else self.group.rank
            own = [self.worker(task) for task in now[at : at + 1]]
            if not self.job.sharded:
                while self.group.any(False):  # others are at work
                    pass
                own = self.group.gather(own)
            yield from zip(now, own, strict=True)

    def _keep_step(self, _phase: str, _done: int, _total: int) -> None:
        """Meet the other ranks, one of which may have nothing to do."""
        if not self.job.sharded:
            self.group.any(True)

    def _of_first(self, find: Callable[[], Any]) -> Any:
        """What rank 0 finds, on every rank."""
        return self.group.gather([find()] if self.group.rank == 0 else [])[0]

    def _meter(self, phase: str, total: int, **settings: Any) -> Meter:
        """A meter of a phase, which rank 0 shows."""
        shown = StageDir(self.job.out).progress if self.group.rank == 0 else lambda *_, **__: None
        return Meter(shown, phase, total, **settings)


@contextmanager
def _model(job: EditJob) -> Iterator[tuple[Base, Group]]:
    """The base model as this process holds it, and the group of all processes."""
    dtype = getattr(torch, job.dtype)
    if job.sharded:
        with load_sharded(job.base.path, dtype=dtype, device=job.device) as found:
            base = Base(found.model, found.tokenizer, job.dtype_digest, found.group)
            yield base, found.group
        return
    device = local_device(job.device)
    model, tokenizer = load(job.base.path, dtype=dtype, device=str(device))
    yield Base(model, tokenizer, job.dtype_digest), DistributedGroup.current(device)


def greatest(lanes: Sequence[Sequence[dict[str, int]]]) -> dict[str, Any]:
    """The greatest memory of each rank over several lanes, as a count; empty without a group."""
    ranks = [
        {kind: max(lane[kind] for lane in rank) for kind in rank[0]}
        for rank in zip(*lanes, strict=True)
    ]
    return {PEAKS: ranks} if ranks else {}
