"""Stage 6: the plan's edits, solved together from the base model into one delta.

Every live edit is solved anew in one batch (re-base), so superseded edits leave no trace and
nothing accumulates. What is dear is kept by content and used again: the statistics of the base
model, and the optimised value of each request. Both survive a killed run and serve the next
edition.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from editors import EDITORS
from editors.delta import Delta
from editors.request import EditRequest
from editors.statistics import Statistics
from infra.checkpoint import Checkpoint
from infra.errors import ConfigError
from infra.models import ModelRef, compute_dtype, load
from infra.runner import Resources, Runner
from infra.settings import nearest, validate
from infra.storage import StageDir, canonical_json, digest_of, write_atomic
from pipeline.edits import PlannedEdit

DELTA = "delta.safetensors"
WEIGHTS = "weights.safetensors"
REPORTS = "reports.parquet"
TEXT = Path(__file__).parent / "texts" / "statistics.txt"

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
    threads: int = Field(default=2, ge=1)
    """CPU threads of the editing worker. Part of the result: sums of floats depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditJob:
    """What the editing worker needs, all of it small and picklable."""

    base: ModelRef
    requests: tuple[EditRequest, ...]
    preserved: tuple[str, ...]
    config: EditConfig
    device: str
    dtype: str
    cache: Path
    out: Path


def edit(
    edits: Sequence[PlannedEdit],
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
    """Write the delta, the edited weights in the base's dtype, and a report of each request."""
    job = EditJob(
        base=base,
        requests=tuple(e.request() for e in edits),
        preserved=tuple(preserved),
        config=config,
        device=device,
        dtype=dtype,
        cache=cache,
        out=out.path,
    )
    gpus = float(device.startswith("cuda"))
    resources = Resources(num_cpus=config.threads, num_gpus=gpus, max_workers=1)
    [counts] = runner.map(make_edit_worker, [job], resources=resources)
    return counts


def make_edit_worker() -> Any:
    """The worker function; one process solves the whole plan."""
    return run_edit


def run_edit(job: EditJob) -> dict[str, Any]:
    """Fit, optimise, solve, compose; runs where the runner puts it."""
    out = StageDir(job.out)
    if not job.requests:
        save_file({}, job.out / WEIGHTS)
        Delta({}).save(job.out / DELTA)
        out.write_table(REPORTS, REPORT_SCHEMA.empty_table())
        return {"edits": 0, "status": {}}
    editor = make_editor(job.config)
    dtype = compute_dtype(job.dtype, job.device)
    model, tokenizer = load(job.base.path, dtype=dtype, device=job.device)

    def progress(phase: str, done: int, total: int) -> None:
        out.progress(done, total, phase)

    statistics = _statistics(job, editor, model, tokenizer, progress)
    proposal = editor.propose(
        model,
        tokenizer,
        job.requests,
        statistics,
        values=ValueStore(job.cache / "values"),
        base_digest=job.base.digest,
        progress=progress,
    )
    write_atomic(job.out / DELTA, proposal.delta.save)
    weights = compose(Checkpoint(job.base.path), proposal.delta)
    write_atomic(job.out / WEIGHTS, lambda path: save_file(weights, path))
    rows = [asdict(report) for report in proposal.reports]
    out.write_table(REPORTS, pa.Table.from_pylist(rows, schema=REPORT_SCHEMA))
    return {"edits": len(rows), "status": Counter(row["status"] for row in rows)}


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


def compose(checkpoint: Checkpoint, delta: Delta) -> dict[str, Tensor]:
    """Edited tensors: base + delta in float32 (never accumulated), rounded once to the base's
    dtype."""
    weights = {}
    for name in delta.factors:
        stored = checkpoint.tensor(name)
        weights[name] = (stored.float() + delta.dense(name)).to(stored.dtype)
    return weights


def text_path(config: EditConfig) -> Path:
    """The file that the statistics are taken on."""
    return Path(config.text) if config.text else TEXT


class ValueStore(MutableMapping[str, Tensor]):
    """Optimised values by content key, on disk; those added together are kept together or not at
    all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[str, Tensor] = {}
        for file in sorted(root.glob("*.safetensors")):
            self.known |= load_file(file)

    def update(self, values: Any = (), /, **more: Tensor) -> None:
        """Add the values of one chunk (a mapping or pairs), in one file."""
        values = dict(values, **more)
        name = hashlib.sha256(canonical_json(sorted(values))).hexdigest()[:32]
        tensors = {key: value.detach().cpu().contiguous() for key, value in values.items()}
        write_atomic(self.root / f"{name}.safetensors", lambda path: save_file(tensors, path))
        self.known |= tensors

    def __setitem__(self, key: str, value: Tensor) -> None:
        self.update({key: value})

    def __getitem__(self, key: str) -> Tensor:
        return self.known[key]

    def __delitem__(self, key: str) -> None:
        raise TypeError("values are never taken out of the store")

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


def _statistics(job: EditJob, editor: Any, model: Any, tokenizer: Any, progress: Any) -> Statistics:
    """The base model's statistics over general text and over the statements to be preserved."""
    path = text_path(job.config)
    try:
        paragraphs = path.read_text(encoding="utf-8").split("\n\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"edit.text {path}: {error}. Give a UTF-8 text file.") from None

    def fitted(texts: Sequence[str]) -> Statistics:
        """From the cache by content, or fitted now."""
        key = digest_of([job.base.digest, job.dtype, list(texts), editor.fit_spec()])
        file = job.cache / "statistics" / f"{key}.safetensors"
        if not file.exists():
            made = editor.fit(model, tokenizer, texts, progress=progress)
            write_atomic(file, made.save)
        return Statistics.load(file)

    general = fitted(paragraphs)
    if not job.preserved or not job.config.preserve_share:
        return general
    return general.blend(fitted(job.preserved), job.config.preserve_share)
