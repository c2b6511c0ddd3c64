"""Put many questions to several models at once: shards of questions in, tables of answers out.

The one way probes and evaluations reach a model. A worker keeps the model it loaded last, so shards
sorted by model cost one load a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors.torch import load_file

from infra.lm import Answer, LanguageModel, Question
from infra.meter import Meter
from infra.models import load
from infra.runner import Resources, Runner
from infra.storage import Shard, StageDir

ANSWERS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("logprobs", pa.list_(pa.float64())),
        ("num_tokens", pa.list_(pa.int64())),
        ("greedy", pa.string()),
        ("greedy_ids", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examinee:
    """A model to be asked: a checkpoint, and tensors that replace some of its weights."""

    name: str
    """Short, used in shard ids: `base`, `candidate`."""
    path: Path
    weights: Path | None = None
    """safetensors of replaced parameters, in the checkpoint's dtype."""
    attach: Callable[[Any], object] | None = None
    """Puts in force what of the model is no weight; picklable, equal if it does the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How models are run."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    """CPU threads of a worker."""
    shard_size: int = 32
    """Questions in one shard."""
    max_new_tokens: int = 16
    """Greedy tokens at most; more than any answer needs."""

    @property
    def resources(self) -> Resources:
        return Resources(num_cpus=self.threads, num_gpus=float(self.device.startswith("cuda")))


class Examiner:
    """The worker: answers one shard of questions, or measures one shard of texts."""

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self.loaded: tuple[Examinee, LanguageModel] | None = None

    def __call__(self, payload: tuple[Examinee, Sequence[Question], Sequence[str]]) -> pa.Table:
        examinee, questions, texts = payload
        lm = self._load(examinee)
        answers = lm.ask(questions, max_new_tokens=self.compute.max_new_tokens)
        for text in texts:
            total, count = lm.nll([text])
            answers.append(Answer(id="text", logprobs=(-total,), num_tokens=(count,), greedy=None))
        return pa.Table.from_pylist([asdict(answer) for answer in answers], schema=ANSWERS)

    def _load(self, examinee: Examinee) -> LanguageModel:
        if self.loaded is None or self.loaded[0] != examinee:
            self.loaded = None  # free the last model before the next is loaded
            dtype = getattr(torch, self.compute.dtype)
            model, tokenizer = load(examinee.path, dtype=dtype, device=self.compute.device)
            if examinee.weights is not None:
                replace_parameters(model, load_file(examinee.weights))
            if examinee.attach is not None:
                examinee.attach(model)
            self.loaded = examinee, LanguageModel(model, tokenizer)
        return self.loaded[1]


@dataclass(frozen=True)
class MakeExaminer:
    """Builds the worker in its own process."""

    compute: Compute

    def __call__(self) -> Examiner:
        return Examiner(self.compute)


@torch.no_grad()
def replace_parameters(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors over the parameters of the same names, in the model's dtype."""
    for name, tensor in tensors.items():
        model.get_parameter(name).copy_(tensor)


def examine(
    runner: Runner,
    out: StageDir,
    exams: Iterable[tuple[Examinee, Sequence[Question], Sequence[str]]],
    *,
    compute: Compute,
    tell: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> dict[str, tuple[dict[str, Answer], list[tuple[float, int]]]]:
    """Ask each examinee its questions and texts.

    Returns, by examinee, the answers by question id and (log-likelihood, tokens) of each text.
    Shards hold prompts of similar length, so that little is padded. Those that were finished before
    an interruption are not asked again.
    """
    exams = list(exams)
    shards: list[Shard] = []
    for examinee, questions, texts in exams:
        size = compute.shard_size
        questions = sorted(questions, key=lambda q: (-len(q.prompt), q.id))
        pieces = [(questions[i : i + size], ()) for i in range(0, len(questions), size)]
        pieces += [((), [text]) for text in texts]
        shards += [
            Shard(f"{examinee.name}-{i:05d}", (examinee, questions, texts))
            for i, (questions, texts) in enumerate(pieces)
        ]
    finished = {shard.id for shard in shards if out.shard_path(shard).exists()}
    meter = Meter(tell, "shards of questions", len(shards), found=len(finished))

    def count(shard: Shard) -> None:
        if shard.id not in finished:
            meter.add(1)

    paths = out.map_tables(
        runner, MakeExaminer(compute), shards, resources=compute.resources, on_done=count
    )
    results = {examinee.name: ({}, []) for examinee, _, _ in exams}
    for shard, path in zip(shards, paths, strict=True):
        answers, texts = results[shard.payload[0].name]
        for answer in read_answers(path):
            if answer.id == "text":
                texts.append((answer.logprobs[0], answer.num_tokens[0]))
            else:
                answers[answer.id] = answer
    return results


def read_answers(path: Path) -> list[Answer]:
    """Answers of one shard's file."""
    from pyarrow.parquet import read_table

    return [
        Answer(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}  # type: ignore[arg-type]
        )
        for row in read_table(path).to_pylist()
    ]
