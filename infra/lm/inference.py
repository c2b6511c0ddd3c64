"""Put many questions to several models at once: shards of questions in, tables of answers out.

The one way probes and evaluations reach a model. A worker keeps the models it used last, so shards
sorted by model cost one load a worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow.parquet import read_table
from safetensors.torch import load_file

from infra.execution.runner import Resources, Runner
from infra.lm.language_model import LanguageModel
from infra.lm.question import Answer, Question, Text, TextScore
from infra.lm.text_scores import score_texts
from infra.models.loading import load
from infra.storage.stage_dir import Shard, StageDir
from infra.telemetry.progress import Meter

ANSWERS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("logprobs", pa.list_(pa.float64())),
        ("num_tokens", pa.list_(pa.int64())),
        ("greedy", pa.string()),
        ("greedy_ids", pa.list_(pa.int64())),
        ("num_argmax", pa.list_(pa.int64())),
    ]
)
TEXTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("nll", pa.float64()),
        ("kl", pa.float64()),
        ("energy", pa.float64()),
        ("num_tokens", pa.int64()),
    ]
)
TEXTS_A_SHARD = 4
PARTS = 4
"""Into how many parts a questionnaire is divided as long as its parts are no larger than they may
be."""
SMALLEST_SHARD = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model to be asked: a checkpoint, and tensors that replace some of its weights."""

    name: str
    """Short, used in shard ids: `base`, `candidate`."""
    path: Path
    digest: str = ""
    """Identity of all that it is made of, where it is an input of a stage."""
    weights: Path | None = None
    """safetensors of replaced parameters, in the checkpoint's dtype."""
    attach: Callable[[Any], object] | None = None
    """Puts in force what of the model is no weight; picklable, equal if it does the same."""
    own_attention: bool = False
    """Whether it has to be asked with the attention that it comes with, as a codebook has, whose
    radii are close to the rounding of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How models are run."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    """CPU threads of a worker."""
    shard_size: int = 256
    """Questions in one shard, at most."""
    max_new_tokens: int = 16
    """Greedy tokens at most; more than any answer needs."""

    @property
    def resources(self) -> Resources:
        return Resources(num_cpus=self.threads, num_gpus=float(self.device.startswith("cuda")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Questionnaire:
    """What one model is asked, and what it is to read."""

    served: ServedModel
    questions: Sequence[Question] = ()
    texts: Sequence[Text] = ()
    reference: ServedModel | None = None
    """Whose predictions on the texts its own are compared with."""


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """What came back, by id."""

    answers: dict[str, Answer]
    texts: dict[str, TextScore]


class AnswerWorker:
    """The worker: answers one shard of questions, or reads one shard of texts."""

    def __init__(self, compute: Compute, *, plain_attention: bool = False) -> None:
        self.compute = compute
        self.plain_attention = plain_attention
        self.loaded: dict[ServedModel, LanguageModel] = {}

    def __call__(self, part: Questionnaire) -> pa.Table:
        self.keep(part.served, part.reference)
        lm = self.loaded[part.served]
        if part.questions:
            rows = lm.ask(part.questions, max_new_tokens=self.compute.max_new_tokens)
            return pa.Table.from_pylist([asdict(row) for row in rows], schema=ANSWERS)
        reference = self.loaded[part.reference] if part.reference else None
        rows = score_texts(lm, part.texts, reference)
        return pa.Table.from_pylist([asdict(row) for row in rows], schema=TEXTS)

    def keep(self, *wanted: ServedModel | None) -> None:
        """Load what is wanted; what is not is let go first."""
        self.loaded = {who: lm for who, lm in self.loaded.items() if who in wanted}
        for served in filter(None, wanted):
            if served not in self.loaded:
                self.loaded[served] = self._load(served)

    def _load(self, served: ServedModel) -> LanguageModel:
        dtype = getattr(torch, self.compute.dtype)
        model, tokenizer = load(served.path, dtype=dtype, device=self.compute.device)
        if served.weights is not None:
            replace_parameters(model, load_file(served.weights))
        if served.attach is not None:
            served.attach(model)
        return LanguageModel(model, tokenizer, plain_attention=self.plain_attention)


@dataclass(frozen=True)
class MakeAnswerWorker:
    """Builds the worker in its own process."""

    compute: Compute
    plain_attention: bool

    def __call__(self) -> AnswerWorker:
        return AnswerWorker(self.compute, plain_attention=self.plain_attention)


@torch.no_grad()
def replace_parameters(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors over the parameters of the same names, in the model's dtype."""
    for name, tensor in tensors.items():
        model.get_parameter(name).copy_(tensor)


def ask_models(
    runner: Runner,
    out: StageDir,
    questionnaires: Iterable[Questionnaire],
    *,
    compute: Compute,
    tell: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> dict[str, ModelAnswers]:
    """Put every questionnaire to its model; what each model answered, by its name.

    Shards hold prompts of similar length, so that little is padded. Those that were finished before
    an interruption are not asked again.
    """
    questionnaires = list(questionnaires)
    shards = [
        shard
        for questionnaire in questionnaires
        for shard in _shards(questionnaire, compute.shard_size)
    ]
    finished = {shard.id for shard in shards if out.shard_path(shard).exists()}
    meter = Meter(tell, "shards of questions", len(shards), found=len(finished))

    def count(shard: Shard) -> None:
        if shard.id not in finished:
            meter.add(1)

    as_made = any(
        questionnaire.served.own_attention for questionnaire in questionnaires
    )  # then all are asked that way
    make = MakeAnswerWorker(compute, plain_attention=not as_made)
    paths = out.map_tables(runner, make, shards, resources=compute.resources, on_done=count)
    replies = {questionnaire.served.name: ModelAnswers({}, {}) for questionnaire in questionnaires}
    for shard, path in zip(shards, paths, strict=True):
        reply = replies[shard.payload.served.name]
        if shard.payload.questions:
            reply.answers.update((answer.id, answer) for answer in read_answers(path))
        else:
            rows = read_table(path).to_pylist()
            reply.texts.update((row["id"], TextScore(**row)) for row in rows)
    return replies


def _shards(questionnaire: Questionnaire, size: int) -> Iterator[Shard]:
    """One questionnaire in parts: questions by length, those of one prompt side by side, then
    texts.

    Of few questions the parts are smaller, so that there is work for several workers.
    """
    name = questionnaire.served.name
    questions = sorted(questionnaire.questions, key=lambda q: (-len(q.prompt), q.prompt, q.id))
    size = min(size, max(SMALLEST_SHARD, math.ceil(len(questions) / PARTS)))
    for i, start in enumerate(range(0, len(questions), size)):
        part = Questionnaire(served=questionnaire.served, questions=questions[start : start + size])
        yield Shard(f"{name}-{i:05d}", part)
    for i, start in enumerate(range(0, len(questionnaire.texts), TEXTS_A_SHARD)):
        texts = questionnaire.texts[start : start + TEXTS_A_SHARD]
        part = Questionnaire(
            served=questionnaire.served, texts=texts, reference=questionnaire.reference
        )
        yield Shard(f"{name}-text-{i:05d}", part)


def read_answers(path: Path) -> list[Answer]:
    """Answers of one shard's file."""
    return [
        Answer(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}  # type: ignore[arg-type]
        )
        for row in read_table(path).to_pylist()
    ]
