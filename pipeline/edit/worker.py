"""The worker of the edit stage: it holds the base model and does one task at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from editors import EDITORS
from editors.base import Base
from editors.editor import Corpus, EditorCall, EditReport, Progress, Work, silent
from editors.request import EditRequest, Wording
from infra.files.atomic import Flush, write_atomic
from infra.files.digest import digest_of
from infra.files.tensors import is_whole
from infra.models.checkpoint import Checkpoint
from infra.models.loading import ModelRef, load
from infra.storage.stage_dir import SHARDS, StageDir
from pipeline.edit.compose import keep
from pipeline.edit.config import EditConfig, make_editor
from pipeline.edit.output import REPORT_SCHEMA, REPORTS, counts_of
from pipeline.edit.value_store import ValueStore

log = logging.getLogger(__name__)

FIT_PARTS = 4
"""Number of parts in which statistics are computed. The result depends on it, for it sets the order
in which floats are added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditJob:
    """What a worker needs to know of an edit; small and picklable."""

    base: ModelRef
    requests: tuple[EditRequest, ...]
    malformed: Mapping[str, str]
    """Edit id -> reason, for edits that no request could be made of."""
    relations: Mapping[str, tuple[Wording, ...]]
    """What prompts may be about (`editors.editor.EditorCall.relations`)."""
    corpora: tuple[tuple[str, ...], ...]
    """Texts that statistics are taken on: general text and, if there are any, the statements to be
    preserved."""
    config: EditConfig
    device: str
    """Where the model runs: `cpu`, or `cuda` with or without a number."""
    dtype: str
    """Dtype of the computation."""
    cache: Path
    """Directory of cached statistics and values."""
    out: Path
    """Directory of the stage's output, where progress is told."""
    folder: Path
    """Directory that the delta, the weights and the reports are written into: the same, or one in
    it where several editors make the output."""

    @property
    def fits(self) -> bool:
        """Whether the editor uses statistics."""
        return EDITORS[self.config.editor].Fitted is not None

    @property
    def sharded(self) -> bool:
        """Whether the model's weights are spread over the processes of a group."""
        return self.config.sharding == "zero3"

    @property
    def dtype_digest(self) -> str:
        """Identity of the base model in this dtype."""
        return digest_of([self.base.digest, self.dtype])

    def part_path(self, corpus: int, part: int) -> Path:
        """File of the statistics of one part of a corpus, while not all parts are there."""
        return self.folder / SHARDS / f"statistics-{corpus}-{part}.safetensors"

    def unfitted(self) -> list[int]:
        """Indices of the corpora whose statistics are not in the cache yet."""
        if not self.fits:
            return []
        return [c for c in range(len(self.corpora)) if not _is_cached(self.statistics_path(c))]

    def unfitted_parts(self, corpora: Sequence[int]) -> list[tuple[int, int]]:
        """(corpus, part) of the parts of some corpora whose files are not there yet."""
        every = ((corpus, part) for corpus in corpora for part in range(FIT_PARTS))
        return [
            (corpus, part) for corpus, part in every if not self.part_path(corpus, part).exists()
        ]

    def statistics_path(self, corpus: int) -> Path:
        """Cache file of the statistics of one corpus, named by a digest of all they depend on."""
        spec = make_editor(self.config).fit_spec()
        key = digest_of([self.base.digest, self.dtype, self.corpora[corpus], spec, FIT_PARTS])
        return self.cache / "statistics" / f"{key}.safetensors"


@dataclass(frozen=True)
class MakeEditWorker:
    """A function that makes the worker, called in the worker's own process."""

    job: EditJob

    def __call__(self) -> EditWorker:
        """Load the model and return the worker."""
        job = self.job
        loaded = load(job.base.path, dtype=getattr(torch, job.dtype), device=job.device)
        return EditWorker(job, Base(*loaded, digest=job.dtype_digest))


class EditWorker:
    """Holds the base model and does one task at a time: a tuple of a method and its arguments.

    A task writes its result to a file before it returns, so doing a task twice does no harm.
    """

    def __init__(self, job: EditJob, base: Base, *, progress: Progress = silent) -> None:
        """
        base      the unedited model; where a group holds it, all its ranks do the same tasks, and
                  rank 0 alone writes
        progress  told how far a task is
        """
        self.job, self.base, self.progress = job, base, progress
        self.editor = make_editor(job.config)
        self.values = ValueStore(job.cache / "values", writes=base.group.rank == 0)

    def __call__(self, task: tuple[Any, ...]) -> Any:
        """Do a task, (method, *arguments), and return the method's result."""
        method, *arguments = task
        return method(self, *arguments)

    def fit(self, corpus: int, part: int) -> None:
        """Compute and write the statistics of one part of a corpus.

        corpus  index into `EditJob.corpora`
        part    0 to `FIT_PARTS` - 1
        """
        texts = self.job.corpora[corpus]
        piece = Corpus(texts, (part, FIT_PARTS), general=corpus == 0)
        made = self.editor.fit(EditorCall(self.base, progress=self.progress), piece)
        if self.writes:
            write_atomic(self.job.part_path(corpus, part), made.save, flush=Flush.CONTENT)

    def merge(self, corpus: int) -> None:
        """Merge the statistics of a corpus's parts, and write them into the cache."""
        parts = [self.editor.Fitted.load(self.job.part_path(corpus, i)) for i in range(FIT_PARTS)]
        whole = reduce(lambda one, other: one.merge(other), parts)
        write_atomic(self.job.statistics_path(corpus), whole.save, flush=Flush.CONTENT)

    def prepare(self) -> Work:
        """Sort the requests into refused ones and groups whose values are not in the store yet."""
        return self.editor.prepare(self._call(), self.job.requests)

    def find_values(self, group: Sequence[EditRequest]) -> dict[str, float]:
        """Optimise the values of one group and store them; return their quality, by measure."""
        found = self.editor.find_values(self._call(), group)
        self.values.update(found)
        return self.editor.quality(found)

    def solve(self, work: Work) -> dict[str, Any]:
        """Solve the delta from all values; write it, the weights that it changes, and the reports.

        Returns the stage's counts.
        """
        job, out = self.job, StageDir(self.job.out)
        if self.writes:
            self.progress = lambda phase, done, total: out.progress(done, total, phase)
        proposal = self.editor.propose(self._call(), work)
        lost = [EditReport(id=i, status="quarantined", reason=r) for i, r in job.malformed.items()]
        rows = [asdict(report) for report in (*proposal.reports, *lost)]
        reports = pa.Table.from_pylist(rows, schema=REPORT_SCHEMA)
        if self.writes:
            keep(proposal.delta, Checkpoint(job.base.path), job.folder)
            StageDir(job.folder).write_table(REPORTS, reports)
        return counts_of(reports, proposal.delta)

    @property
    def writes(self) -> bool:
        """Whether this process writes what it does."""
        return self.base.group.rank == 0

    def _call(self) -> EditorCall[Any]:
        """A call of the editor with the statistics of all corpora."""
        return EditorCall(self.base, self._fitted(), self.values, self.progress, self.job.relations)

    def _fitted(self) -> Any:
        """The statistics of all corpora, blended; None if the editor uses none."""
        job = self.job
        if not job.fits:
            return None
        general, *more = (
            self.editor.Fitted.load(job.statistics_path(corpus))
            for corpus in range(len(job.corpora))
        )
        return general.blend(more[0], job.config.preserve_share) if more else general


def _is_cached(cached: Path) -> bool:
    """Whether a file of the cache is there and whole; one that is damaged is dropped, with a
    line."""
    if not cached.exists():
        return False
    if not (whole := is_whole(cached)):
        log.warning("%s is damaged: it is made again", cached)
        cached.unlink(missing_ok=True)
    return whole
