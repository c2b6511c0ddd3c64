"""One passage of a model through all that a run does with it, on a few tokens."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from editors.base import Base
from editors.deltas.delta import Delta
from editors.deltas.weights import LowRank, WeightPart
from editors.editor import Corpus, EditorCall
from editors.internals.architecture import Architecture
from editors.internals.finite import not_finite
from editors.request import EditRequest
from infra.errors import CorrigendaError, EditError, ModelError
from infra.files.digest import digest_of
from infra.lm.chat_trial import require_fillable
from infra.lm.inference import Compute, replace_parameters
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.checkpoint import Checkpoint
from infra.models.library import advice, first_line
from infra.models.loading import ModelRef, load
from infra.models.tokenizer.trial import require_bounded
from pipeline.edit.compose import keep
from pipeline.edit.config import EditConfig, make_editor, paragraphs
from pipeline.export.candidate import CHECKPOINT, export

FACT = EditRequest(
    id="preflight",
    prompt="The capital of France is",
    subject_span=(len("The capital of "), len("The capital of France")),
    target="Rome",
)
"""The fact that is written and taken back."""
QUESTIONS = (
    Question(id="a", prompt=FACT.prompt, candidates=("New York City",), greedy=True),
    Question(id="b", prompt="Two", candidates=("and two is four",), greedy=True),
)
"""Prompts of different lengths, which a batch pads."""
NEW_TOKENS = 2
TEXTS, TEXT_CHARS = 2, 150
"""General text that the editor is fitted on: paragraphs, and characters of each."""
BRIEF = {
    **{"steps": 2, "epochs": 1, "num_prefixed": 0, "fisher_tokens": 0},
    **{"ridge": 1.0, "min_leverage": 0.0},
}
"""Settings of editors by their names, and the value that each takes here: the fewest steps, and
what lets so little text do for a solve."""
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6}
HALF_TOLERANCE = 1.0
"""Nats by which the log-likelihood of a token may differ between a batch and a row alone, by dtype:
rounding stays far below; padding that is seen does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of a model that passed."""

    kind: str
    """Its class in transformers."""
    parameters: int
    """Number of its parameters."""
    blocks: int
    """Number of its decoder blocks."""
    editable: int
    """How many of them the editor could change."""
    edited: tuple[str, ...]
    """Names of the parameters that the editor changes; empty for one that changes none."""
    weights_bytes: int
    """Size of its weight files."""
    release_bytes: int
    """Size of those that a release has of its own; the others are clones of the base's."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """What was written as JSON."""
        return cls(**{**record, "edited": tuple(record["edited"])})


def pass_through(
    base: ModelRef, edit: EditConfig, compute: Compute, system: str | None, scratch: Path
) -> Found:
    """Try its tokenizer and chat template, load a model, look at its numbers, ask it, edit it,
    export it, load the export, and take the edit back.

    system   the system prompt of chats; None leaves it to the template
    scratch  directory that the export is written into

    Raises ModelError that names what is at fault, ConfigError for settings that do not fit the
    model.
    """
    dtype = getattr(torch, compute.dtype)
    require_bounded(base.path)
    require_fillable(base.path, system)
    model, tokenizer = load(base.path, dtype=dtype, device=compute.device)
    if bad := not_finite(model):
        raise ModelError(
            f"model {base.name}: {bad} has values that are not finite in {compute.dtype}. Restore "
            "its files, or compute in a wider dtype."
        )
    held = Base(model, tokenizer, digest_of([base.digest, compute.dtype]))
    with step("taken apart", base.name):
        architecture = held.architecture
    with step("asked in batches", base.name):
        require_same_answers(LanguageModel(model, tokenizer), base.name)
    with step(f"edited by {edit.editor}", base.name):
        delta = write_fact(held, edit) or rank_one(architecture)
    stored = Checkpoint(base.path)
    ids = torch.tensor([tokenizer(FACT.prompt)["input_ids"]], device=compute.device)
    with step("exported", base.name):
        keep(delta, stored, scratch)
        changed = export(base, scratch, scratch, lasting=False).edited
        expected = _take_back(model, delta, delta.weights(stored), ids, base.name)
    own = {stored.file_of[stored.stored_name(name)] for name in changed}
    found = Found(
        kind=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        blocks=len(architecture.blocks),
        editable=sum(block.editable for block in architecture.blocks),
        edited=tuple(delta.of(WeightPart)),
        weights_bytes=_size(base.path, stored.files.weights),
        release_bytes=_size(base.path, own),
    )
    del model, held, architecture
    gc.collect()  # the next model is loaded where this one was
    with step("loaded from an export", base.name):
        again, _ = load(scratch / CHECKPOINT, dtype=dtype, device=compute.device)
        known = expected.shape[-1]  # an export may have further tokens, which are never predicted
        if not torch.equal(_logits(again, ids)[..., :known], expected):
            raise ModelError(
                f"model {base.name}: loaded from an export with {', '.join(changed)} changed, it "
                "answers otherwise than with the same change in memory. It cannot be released."
            )
    return found


@contextmanager
def step(what: str, name: str) -> Iterator[None]:
    """Turn what a model's modules raise inside the `with` into a ModelError of one line.

    what  what is done with the model, a participle
    """
    try:
        yield
    except CorrigendaError:
        raise
    except Exception as error:  # any module of any model
        raise ModelError(
            f"model {name} fails when it is {what}: {first_line(error)}. {advice(error)}"
        ) from error


def require_same_answers(lm: LanguageModel, name: str) -> None:
    """Raise ModelError where answers in a batch are not those of the plain model on the whole text:
    padding is then taken for text, or a cache for another row's."""
    limit = TOLERANCE.get(lm.model.dtype, HALF_TOLERANCE)
    answers = lm.ask(QUESTIONS, max_new_tokens=NEW_TOKENS)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        off = [_missed(lm, question.prompt, answer.greedy_ids)]
        for candidate, logprob, tokens in zip(
            question.candidates, answer.logprobs, answer.num_tokens, strict=True
        ):
            off.append(abs(logprob - _plain(lm, question.prompt, candidate)) / tokens)
        if not all(difference <= limit for difference in off):
            raise ModelError(
                f"model {name} ({type(lm.model).__name__}) gives an answer {max(off):.2g} nats a "
                "token more or less in a batch than in a text by itself: it cannot be asked in "
                "batches."
            )


def write_fact(base: Base, edit: EditConfig) -> Delta | None:
    """What the editor, in few steps and on little text, makes of one made-up fact; None where it
    sets the fact aside or has too little text to solve it."""
    editor = make_editor(edit)
    editor = type(editor)(brief(editor.config))
    texts = [text[:TEXT_CHARS] for text in paragraphs(edit) if text.strip()][:TEXTS]
    try:
        fitted = editor.fit(EditorCall(base), Corpus(texts))
        call = EditorCall(base, fitted)
        work = editor.prepare(call, [FACT])
        for group in work.groups:
            call.store.update(editor.find_values(call, group))
        delta = editor.propose(call, work).delta
    except EditError:
        return None  # the passage's text is short, so this says nothing of the model
    return delta if delta.parts else None


def brief(config: Any) -> Any:
    """An editor's settings, and those of its parts, with the values of `BRIEF`."""
    changes: dict[str, Any] = {}
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            changes[one.name] = brief(value)
        elif one.name in BRIEF:
            changes[one.name] = BRIEF[one.name]
    return replace(config, **changes)


def rank_one(architecture: Architecture) -> Delta:
    """A small change of rank one of a projection in the middle of the model."""
    block = architecture.blocks[architecture.editable([len(architecture.blocks) // 2])[0]]
    rows, columns = block.shape
    left, right = torch.ones(rows, 1), torch.full((1, columns), 1e-3)
    return Delta((WeightPart(block.name, LowRank(left, right)),))


def _take_back(
    model: Any, delta: Delta, weights: dict[str, Tensor], ids_1T: Tensor, name: str
) -> Tensor:
    """Apply a delta and take it back; then the logits [1, T, V] with `weights` in place.

    Raises ModelError where the model is not bitwise what it was.
    """
    before = {key: model.get_parameter(key).clone() for key in delta.of(WeightPart)}
    logits, again = _logits(model, ids_1T), _logits(model, ids_1T)
    with delta.applied(model):
        _logits(model, ids_1T)
    changed = [key for key, value in before.items() if not _same(model.get_parameter(key), value)]
    repeats = torch.equal(logits, again)
    if changed or (repeats and not torch.equal(_logits(model, ids_1T), logits)):
        raise ModelError(
            f"model {name}: {', '.join(changed) or 'its answers'} cannot be put back as before. "
            "It cannot be edited."
        )
    replace_parameters(model, weights)
    return _logits(model, ids_1T)


@torch.no_grad()
def _logits(model: Any, ids_1T: Tensor) -> Tensor:
    """Logits of one row, [1, T, V], on the CPU."""
    return model(input_ids=ids_1T).logits.cpu()


def _logprobs(lm: LanguageModel, ids: Sequence[int]) -> Tensor:
    """log p of every token behind each token of a row, [T, V], from one plain pass over it."""
    return _logits(lm.model, torch.tensor([ids], device=lm.device))[0].float().log_softmax(-1)


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.detach(), other.detach())


def _plain(lm: LanguageModel, prompt: str, candidate: str) -> float:
    """log p of a candidate's tokens, from one plain pass over the whole text."""
    encoded = lm.tokenizer(f"{prompt} {candidate}", return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    start = next(i for i, (_, end) in enumerate(offsets) if end > len(prompt))
    logp_TV = _logprobs(lm, ids)
    return sum(float(logp_TV[t - 1, ids[t]]) for t in range(start, len(ids)))


def _missed(lm: LanguageModel, prompt: str, said: Sequence[int]) -> float:
    """By how many nats the worst token of a greedy continuation is less likely than the likeliest
    one there, from one plain pass over the whole."""
    ids = [*lm.tokenizer(prompt)["input_ids"], *said]
    logp_TV = _logprobs(lm, ids)
    ends = range(len(ids) - len(said), len(ids))
    return max((float(logp_TV[t - 1].max() - logp_TV[t - 1, ids[t]]) for t in ends), default=0.0)


def _size(path: Path, names: Iterable[str]) -> int:
    """Bytes of these files of a directory."""
    return sum((path / name).stat().st_size for name in names)
