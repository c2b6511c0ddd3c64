"""Ask one or several models many questions, on a runner: shards of questions in, answers out.

Probes and evaluations reach a model in this way only. A worker keeps the models that it used last,
so it loads a model once if the shards are sorted by model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow.parquet import read_table
from safetensors.torch import load_file

from infra.errors import ModelError
from infra.execution.runner import Resources, Runner
from infra.lm.language_model import LanguageModel
from infra.lm.question import Answer, Question, Text, TextScore
from infra.lm.text_scores import score_texts
from infra.models.loading import load
from infra.storage.identity import NO_IDENTITY
from infra.storage.stage_dir import Shard, StageDir
from infra.telemetry.progress import Meter

ANSWERS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("logprobs", pa.list_(pa.float64())),
        ("num_tokens", pa.list_(pa.int64())),
        ("greedy", pa.string()),
        ("greedy_ids", pa.list_(pa.int64())),
        ("num_argmax", pa.list_(pa.int64())),
    ]
)
"""Columns of a shard of answers: the fields of `Answer`."""
TEXTS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("nll", pa.float64()),
        ("kl", pa.float64()),
        ("energy", pa.float64()),
        ("num_tokens", pa.int64()),
    ]
)
"""Columns of a shard of text scores: the fields of `TextScore`."""
TEXTS_PER_SHARD = 4
MIN_SHARDS = 4
"""Shards of questions of one model at least, so that several workers have work, if each shard gets
`MIN_SHARD_SIZE` questions."""
MIN_SHARD_SIZE = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model to ask: a checkpoint, and what is changed in it after loading."""

    name: str
    """Short name, used in shard ids: `base`, `candidate`."""
    path: Path
    """Directory of the checkpoint."""
    digest: str = ""
    """Identity of all that it is made of, where it is an input of a stage."""
    weights: Path | None = None
    """A safetensors file with new values of parameters, in the checkpoint's dtype."""
    attach: Callable[[Any, Any], Any] | None = None
    """Called with the loaded model and its tokenizer; attaches what is not a weight (an adapter, a
    codebook), and returns the tokenizer to ask it with. Picklable, and equal to another one that
    does the same."""
    own_attention: bool = False
    """Whether the model must be asked with its own attention implementation. A codebook must, since
    the rounding of another one may move a query across a radius."""
    holds: Path | None = field(default=None, metadata=NO_IDENTITY)
    """A safetensors file of parameters that the checkpoint was written with: the loaded model must
    have these, or it is not the model that was edited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How models are run."""

    device: str = "cpu"
    """`cpu` or `cuda`."""
    dtype: str = "float32"
    """Name of a torch dtype."""
    threads: int = 1
    """CPU threads of a worker."""
    shard_size: int = 256
    """Questions in one shard, at most."""
    max_new_tokens: int = 16
    """Tokens of the longest greedy continuation; more than any answer needs."""

    @property
    def resources(self) -> Resources:
        """What one worker needs of a machine."""
        return Resources(num_cpus=self.threads, num_gpus=float(self.device.startswith("cuda")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Questionnaire:
    """The questions for one model, and the texts it has to score."""

    served: ServedModel
    """The model that is asked."""
    questions: Sequence[Question] = ()
    texts: Sequence[Text] = ()
    reference: ServedModel | None = None
    """The model whose predictions on the texts are compared with those of `served`."""


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """The results of one questionnaire."""

    answers: dict[str, Answer]
    """By id of the question."""
    texts: dict[str, TextScore]
    """By id of the text or window."""


class AnswerWorker:
    """A worker that answers a shard of questions, or scores a shard of texts."""

    def __init__(self, compute: Compute, *, plain_attention: bool = False) -> None:
        """
        plain_attention  as of `LanguageModel`, for every model that this worker loads
        """
        self.compute = compute
        self.plain_attention = plain_attention
        self.loaded: dict[ServedModel, LanguageModel] = {}

    def __call__(self, part: Questionnaire) -> pa.Table:
        """The table of answers, or, for a part without questions, of text scores.

        Raises ModelError for a model that cannot be loaded or a prompt without a token.
        """
        self.keep(part.served, part.reference)
        lm = self.loaded[part.served]
        if part.questions:
            rows = lm.ask(part.questions, max_new_tokens=self.compute.max_new_tokens)
            return pa.Table.from_pylist([asdict(row) for row in rows], schema=ANSWERS_SCHEMA)
        reference = self.loaded[part.reference] if part.reference else None
        rows = score_texts(lm, part.texts, reference)
        return pa.Table.from_pylist([asdict(row) for row in rows], schema=TEXTS_SCHEMA)

    def keep(self, *wanted: ServedModel | None) -> None:
        """Load the wanted models, after freeing those that are not wanted."""
        self.loaded = {served: lm for served, lm in self.loaded.items() if served in wanted}
        for served in filter(None, wanted):
            if served not in self.loaded:
                self.loaded[served] = self._load(served)

    def _load(self, served: ServedModel) -> LanguageModel:
        """Load a checkpoint, replace its weights, and attach what is to be attached."""
        dtype = getattr(torch, self.compute.dtype)
        model, tokenizer = load(served.path, dtype=dtype, device=self.compute.device)
        if served.holds is not None:
            require_parameters(model, load_file(served.holds), served.path)
        if served.weights is not None:
            replace_parameters(model, load_file(served.weights))
        if served.attach is not None:
            tokenizer = served.attach(model, tokenizer)
        return LanguageModel(model, tokenizer, plain_attention=self.plain_attention)


@dataclass(frozen=True)
class MakeAnswerWorker:
    """Builds an `AnswerWorker` in the worker's process."""

    compute: Compute
    plain_attention: bool

    def __call__(self) -> AnswerWorker:
        """A worker without models yet."""
        return AnswerWorker(self.compute, plain_attention=self.plain_attention)


@torch.no_grad()
def replace_parameters(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into the model's parameters of the same names, in the model's dtype.

    Raises AttributeError for a name that is no parameter.
    """
    for name, tensor in tensors.items():
        model.get_parameter(name).copy_(tensor)


def require_parameters(model: Any, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise ModelError where a loaded model's parameters are not these, in the model's dtype.

    tensors  by name, in the dtype of the checkpoint
    path     the checkpoint's directory, for the message
    """
    for name, tensor in tensors.items():
        loaded = model.get_parameter(name).cpu()
        if not torch.allclose(loaded, tensor.to(loaded.dtype), rtol=0, atol=0, equal_nan=True):
            raise ModelError(
                f"checkpoint {path} is not loaded with the edited {name}: the loader took another "
                "file. Keep one save of the weights in the base's directory."
            )


def ask_models(
    runner: Runner,
    out: StageDir,
    questionnaires: Iterable[Questionnaire],
    *,
    compute: Compute,
    tell: Callable[..., None] = lambda done, total, text: None,
) -> dict[str, ModelAnswers]:
    """Ask every model its questionnaire; the results by the model's name.

    out   directory of the output, which keeps the finished shards: after an interruption they are
          not asked again
    tell  called with the number of finished shards, of all, and a text for the progress display

    Shards hold prompts of similar length, so that there is little padding. If one model needs its
    own attention implementation, all models are asked with theirs, so that they can be compared.
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

    own_attention = any(questionnaire.served.own_attention for questionnaire in questionnaires)
    make = MakeAnswerWorker(compute, plain_attention=not own_attention)
    paths = out.map_tables(runner, make, shards, resources=compute.resources, on_done=count)
    results = {questionnaire.served.name: ModelAnswers({}, {}) for questionnaire in questionnaires}
    for shard, path in zip(shards, paths, strict=True):
        result = results[shard.payload.served.name]
        if shard.payload.questions:
            result.answers.update((answer.id, answer) for answer in read_answers(path))
        else:
            rows = read_table(path).to_pylist()
            result.texts.update((row["id"], TextScore(**row)) for row in rows)
    return results


def _shards(questionnaire: Questionnaire, size: int) -> Iterator[Shard]:
    """Divide a questionnaire: first the questions, sorted by length and prompt, then the texts.

    Few questions are divided into smaller shards, so that there is work for several workers.
    """
    name = questionnaire.served.name
    questions = sorted(questionnaire.questions, key=lambda q: (-len(q.prompt), q.prompt, q.id))
    size = min(size, max(MIN_SHARD_SIZE, math.ceil(len(questions) / MIN_SHARDS)))
    for i, start in enumerate(range(0, len(questions), size)):
        part = Questionnaire(served=questionnaire.served, questions=questions[start : start + size])
        yield Shard(f"{name}-{i:05d}", part)
    for i, start in enumerate(range(0, len(questionnaire.texts), TEXTS_PER_SHARD)):
        texts = questionnaire.texts[start : start + TEXTS_PER_SHARD]
        part = Questionnaire(
            served=questionnaire.served, texts=texts, reference=questionnaire.reference
        )
        yield Shard(f"{name}-text-{i:05d}", part)


def read_answers(path: Path) -> list[Answer]:
    """The answers in the file of one shard."""
    return [
        Answer(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}  # type: ignore[arg-type]
        )
        for row in read_table(path).to_pylist()
    ]
