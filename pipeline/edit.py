"""Stage 6: the plan's edits, solved together from the base model into one delta.

Every live edit is solved anew in one batch (re-base), so superseded edits leave no trace and
nothing accumulates. What is dear is spread over workers, kept by content and used again: the
statistics of the base model, and the optimised value of each request. Both survive a killed run and
serve the next edition.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from editors import EDITORS
from editors.base import Base
from editors.deltas.delta import Delta
from editors.editor import EditReport, Work
from editors.request import EditRequest
from infra.errors import ConfigError, EditError
from infra.execution.runner import Resources, Runner
from infra.files.atomic import write_atomic
from infra.files.digest import canonical_json, digest_of
from infra.models.checkpoint import Checkpoint
from infra.models.loading import ModelRef, load
from infra.settings import nearest, validate
from infra.storage.stage_dir import SHARDS, StageDir
from infra.telemetry.progress import Meter

DELTA = "delta.safetensors"
WEIGHTS = "weights.safetensors"
REPORTS = "reports.parquet"
TEXT = Path(__file__).parent / "texts" / "statistics.txt"

FIT_PARTS = 4
"""Pieces in which statistics are gathered. Part of the result: sums of floats depend on it."""

REPORT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("reason", pa.string()),
        ("steps", pa.int64()),
        ("loss", pa.float64()),
        ("p_target", pa.float64()),
        ("delta_norm_ratio", pa.float64()),
    ]
)


class EditConfig(BaseModel):
    """Which editor, and on what its statistics are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    editor: str = "memit"
    """A name in `editors.EDITORS`."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the editor; see its config class."""
    text: str | None = None
    """General text for the statistics, a UTF-8 file; unset is the Wikipedia sample we carry."""
    preserve_share: float = Field(default=0.5, ge=0, lt=1)
    """Weight, in the statistics, of the plan's statements about other subjects; the rest is general
    text. Without them an edit of many facts of one relation spills over to every similar
    subject."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of an editing worker. Part of the result: sums of floats depend on it."""


class Editable(Protocol):
    """What the stage wants of an edit."""

    @property
    def id(self) -> str: ...

    def request(self) -> EditRequest: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EditJob:
    """What an editing worker needs, all of it small and picklable."""

    base: ModelRef
    requests: tuple[EditRequest, ...]
    malformed: Mapping[str, str]
    """Reason, by id, for edits that no request could be made of."""
    corpora: tuple[tuple[str, ...], ...]
    """General text, then the statements to be preserved, if there are any."""
    config: EditConfig
    device: str
    dtype: str
    cache: Path
    out: Path

    @property
    def fits(self) -> bool:
        """Whether the editor wants statistics."""
        return EDITORS[self.config.editor].Fitted is not None

    def statistics_path(self, corpus: int) -> Path:
        """Where the statistics over a corpus are kept, by all that shapes them."""
        spec = make_editor(self.config).fit_spec()
        key = digest_of([self.base.digest, self.dtype, self.corpora[corpus], spec, FIT_PARTS])
        return self.cache / "statistics" / f"{key}.safetensors"


def edit(
    edits: Sequence[Editable],
    preserved: Sequence[str],
    *,
    base: ModelRef,
    config: EditConfig,
    device: str,
    dtype: str,
    cache: Path,
    out: StageDir,
    runner: Runner,
) -> dict[str, Any]:
    """Write the delta, the edited weights in the base's dtype, and a report of each request.

    Statistics and values are found by as many workers as fit; one solves.
    """
    if not edits:
        save_file({}, out.path / WEIGHTS)
        Delta({}).save(out.path / DELTA)
        out.write_table(REPORTS, REPORT_SCHEMA.empty_table())
        return {"edits": 0, "status": {}, "codebook": 0}
    general = tuple(paragraphs(config))
    requests, malformed = _requests(edits)
    job = EditJob(
        base=base,
        requests=requests,
        malformed=malformed,
        corpora=(general, tuple(preserved)) if preserved and config.preserve_share else (general,),
        config=config,
        device=device,
        dtype=dtype,
        cache=cache,
        out=out.path,
    )
    resources = Resources(num_cpus=config.threads, num_gpus=float(device.startswith("cuda")))

    def share_out(phase: str, tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
        meter = Meter(out.progress, phase, len(tasks))
        results = []
        for result in runner.map(MakeEditWorker(job), tasks, resources=resources):
            results.append(result)
            meter.add(1)
        return results

    if job.fits:
        unfitted = [c for c in range(len(job.corpora)) if not job.statistics_path(c).exists()]
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


@dataclass(frozen=True)
class MakeEditWorker:
    """Builds the worker in its own process."""

    job: EditJob

    def __call__(self) -> EditWorker:
        return EditWorker(self.job)


class EditWorker:
    """Holds the base model, and does one task at a time: one of its methods, with arguments.

    What a task makes is in a file when it returns, so a task done twice costs time only.
    """

    def __init__(self, job: EditJob) -> None:
        self.job = job
        self.editor = make_editor(job.config)
        loaded = load(job.base.path, dtype=getattr(torch, job.dtype), device=job.device)
        self.base = Base(*loaded, digest=digest_of([job.base.digest, job.dtype]))
        self.values = ValueStore(job.cache / "values")

    def __call__(self, task: tuple[Any, ...]) -> Any:
        method, *arguments = task
        return method(self, *arguments)

    def fit(self, corpus: int, part: int) -> None:
        """Statistics over one part of a corpus."""
        path = self._part(corpus, part)
        if not path.exists():
            texts = self.job.corpora[corpus]
            made = self.editor.fit(self.base, texts, (part, FIT_PARTS), general=corpus == 0)
            write_atomic(path, made.save)

    def merge(self, corpus: int) -> None:
        """The statistics over a whole corpus."""
        parts = [self.editor.Fitted.load(self._part(corpus, part)) for part in range(FIT_PARTS)]
        whole = reduce(lambda one, other: one.merge(other), parts)
        write_atomic(self.job.statistics_path(corpus), whole.save)

    def prepare(self) -> Work:
        """The requests, refused or grouped; values that are in the store are not found again."""
        return self.editor.prepare(self.base, self.job.requests, self._fitted(), self.values)

    def find_values(self, group: Sequence[EditRequest]) -> dict[str, float]:
        """The values of one group, into the store; how good they are."""
        found = self.editor.find_values(self.base, group, self._fitted())
        self.values.update(found)
        return self.editor.quality(found)

    def solve(self, work: Work) -> dict[str, Any]:
        """One delta of all values, the weights it makes, and the reports."""
        job, out = self.job, StageDir(self.job.out)
        proposal = self.editor.propose(
            self.base,
            work,
            self._fitted(),
            self.values,
            lambda phase, done, total: out.progress(done, total, phase),
        )
        keep(proposal.delta, Checkpoint(job.base.path), job.out)
        lost = [EditReport(id=i, status="quarantined", reason=r) for i, r in job.malformed.items()]
        rows = [asdict(report) for report in (*proposal.reports, *lost)]
        out.write_table(REPORTS, pa.Table.from_pylist(rows, schema=REPORT_SCHEMA))
        status = Counter(row["status"] for row in rows)
        entries = sum(len(book.entries) for book in proposal.delta.codebooks.values())
        return {"edits": len(rows), "status": status, "codebook": entries}

    def _fitted(self) -> Any:
        """What the editor knows of all corpora; None if it wants nothing."""
        job = self.job
        if not job.fits:
            return None
        general, *more = (
            self.editor.Fitted.load(job.statistics_path(corpus))
            for corpus in range(len(job.corpora))
        )
        return general.blend(more[0], job.config.preserve_share) if more else general

    def _part(self, corpus: int, part: int) -> Path:
        return self.job.out / SHARDS / f"statistics-{corpus}-{part}.safetensors"


def make_editor(config: EditConfig) -> Any:
    """The editor of a config. Raises ConfigError for an unknown one or a bad option."""
    if config.editor not in EDITORS:
        known = ", ".join(EDITORS)
        raise ConfigError(
            f"edit.editor = {config.editor!r} is unknown{nearest(config.editor, EDITORS)}. "
            f"Choose one of {known}."
        )
    editor = EDITORS[config.editor]
    return editor(validate(editor.Config, config.options, "config [edit.options]"))


def keep(delta: Delta, base: Checkpoint, out: Path) -> None:
    """The delta, and the weights that it makes of the base's, into a directory."""
    write_atomic(out / DELTA, delta.save)
    weights = compose(base, delta)
    write_atomic(out / WEIGHTS, lambda path: save_file(weights, path))


def compose(checkpoint: Checkpoint, delta: Delta) -> dict[str, Tensor]:
    """Edited tensors: base + delta in float32 (never accumulated), rounded once to the base's
    dtype. A codebook is no weight: `AttachCodebook` puts it in force."""
    weights = {}
    for name in delta.factors:
        stored = checkpoint.tensor(name)
        weights[name] = (stored.float() + delta.dense(name)).to(stored.dtype)
    return weights


@dataclass(frozen=True)
class AttachCodebook:
    """Puts the codebook of a delta, if it has one, in force on a loaded model."""

    delta: Path

    def __call__(self, model: Any) -> None:
        Delta(codebooks=Delta.load(self.delta).codebooks).apply_(model)


@dataclass(frozen=True)
class AttachDelta:
    """Puts a whole delta in force on a loaded base: the edited model before any export."""

    delta: Path

    def __call__(self, model: Any) -> None:
        Delta.load(self.delta).apply_(model)


def text_path(config: EditConfig) -> Path:
    """The file that the statistics are taken on."""
    return Path(config.text) if config.text else TEXT


class ValueStore:
    """An `editors.editor.Store` on disk; tensors added together are kept together or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[Path, Any] = {}
        """Those opened so far; content-keyed, so never stale."""
        self._places: dict[str, Any] = {}

    def __contains__(self, key: object, /) -> bool:
        if key not in self._places:
            self._look()
        return key in self._places

    def __getitem__(self, key: str, /) -> Tensor:
        if key not in self:
            raise KeyError(key)
        return self._places[key].get_tensor(key)

    def update(self, tensors: Mapping[str, Tensor], /) -> None:
        """Keep these, in one file."""
        name = hashlib.sha256(canonical_json(sorted(tensors))).hexdigest()[:32]
        whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        write_atomic(self.root / f"{name}.safetensors", lambda path: save_file(whole, path))

    def _look(self) -> None:
        """Open the files that have come since."""
        for path in sorted(self.root.glob("*.safetensors")):
            if path not in self._files:
                self._files[path] = safe_open(path, "pt")
                self._places |= dict.fromkeys(self._files[path].keys(), self._files[path])


def _requests(edits: Sequence[Editable]) -> tuple[tuple[EditRequest, ...], dict[str, str]]:
    """The requests that can be made of edits, and for the other ids the reason."""
    requests: list[EditRequest] = []
    malformed: dict[str, str] = {}
    for planned in edits:
        try:
            requests.append(planned.request())
        except EditError as error:
            malformed[planned.id] = str(error)
    return tuple(requests), malformed


def paragraphs(config: EditConfig) -> list[str]:
    """The general text. Raises ConfigError where it cannot be read."""
    path = text_path(config)
    try:
        return path.read_text(encoding="utf-8").split("\n\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"edit.text {path}: {error}. Give a UTF-8 text file.") from None
