"""Whether the base model is there, what it is, and how fast it is here."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from infra.errors import CorrigendaError
from infra.execution.capacity import memory_bytes
from infra.execution.runner import InProcessRunner, set_threads
from infra.files.clone import takes_no_room
from infra.lm.chat_trial import stores_template
from infra.lm.inference import Compute
from infra.models.files import model_files, read_config
from infra.models.loading import ModelRef, download_bytes, load, locate
from infra.models.stored import stored_tensors
from pipeline.config import Config
from pipeline.preflight.preflight import preflight

BATCH, LENGTH, PASSES = 8, 32, 3
"""Rows and tokens of the batch that the speed is measured on, and how often it is run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCheck:
    """What is known of the base model."""

    name: str
    """As the config has it."""
    architecture: str | None = None
    """Its class in transformers; None, like what follows, where the model is not here."""
    num_parameters: int | None = None
    weights_bytes: int | None = None
    """Size of its weight files."""
    inner_size: int | None = None
    """Width of its MLPs."""
    num_layers: int | None = None
    dtype: str | None = None
    """In which it is computed."""
    left: tuple[str, ...] = ()
    """Other weights in its directory, which no release will have."""
    num_blocks: int | None = None
    """Decoder blocks, and how many of them can be edited; None where the preflight did not pass."""
    num_editable: int | None = None
    release_bytes: int | None = None
    """Bytes that the weight files of a release take: all, or those that an edit changes where the
    file system makes clones of the others."""
    has_chat_template: bool | None = None
    """Whether its tokenizer says how a chat is written, as those of instruct models do."""
    download_bytes: int | None = None
    """What the first run downloads; None for a model that is here."""
    tokens_s: float | None = None
    """Tokens a second that one worker runs in a small batch; None where it was not loaded."""
    stops: tuple[str, ...] = ()
    """What would stop a run, one line each."""

    @property
    def computed_bytes(self) -> int | None:
        """Bytes of the parameters in the dtype of the computation."""
        if self.num_parameters is None or self.dtype is None:
            return None
        return self.num_parameters * getattr(torch, self.dtype).itemsize


def check_model(config: Config, cache: Path) -> ModelCheck:
    """Find the model, read its config and the heads of its weight files, take it through the
    preflight of a run, and time it.

    cache  directory of what is kept by content, on the file system of the outputs

    A model of the hub that is not here is not downloaded. What would stop a run is in the result.
    """
    name, compute = config.model.name, config.model.compute
    found = ModelCheck(name=name, dtype=compute.dtype)
    try:
        wanted = download_bytes(name)
        if wanted is not None:
            return replace(found, download_bytes=wanted)
        base = locate(name)
        found = _described(base, compute)
        need = found.computed_bytes
        if need is not None and need > memory_bytes():
            return found  # what is too large for the memory is not loaded
        found = _passed(found, base, config, cache)
        return _with_speed(found, base, compute)
    except CorrigendaError as error:
        return replace(found, stops=(str(error),))


def _passed(found: ModelCheck, base: ModelRef, config: Config, cache: Path) -> ModelCheck:
    """The result with what the preflight of a run found. Raises ModelError and ConfigError."""
    passed = preflight(
        base,
        edit=config.edit,
        compute=config.model.compute,
        system=config.serve.system,
        cache=cache,
        runner=InProcessRunner(),
    )
    weights = base.path / model_files(base.path).weights[0]
    shared = takes_no_room(weights.resolve(), cache)
    return replace(
        found,
        left=passed.left,
        release_bytes=passed.found.release_bytes if shared else passed.found.weights_bytes,
        num_editable=passed.found.editable,
        num_blocks=passed.found.blocks,
    )


def _described(base: ModelRef, compute: Compute) -> ModelCheck:
    """What the files of a model say of it."""
    config = read_config(base.path)
    inner = config.get("text_config")
    text = {**config, **(inner if isinstance(inner, dict) else {})}
    named = config.get("architectures")
    kind = named[0] if named and isinstance(named, list) else config.get("model_type")
    listed = model_files(base.path)
    files = [base.path / name for name in listed.weights]
    tensors = stored_tensors(base.path, listed).values()
    return ModelCheck(
        name=base.name,
        architecture=kind and str(kind),
        num_parameters=sum(prod(tensor.shape) for tensor in tensors),
        weights_bytes=sum(file.stat().st_size for file in files),
        inner_size=text.get("intermediate_size"),
        num_layers=text.get("num_hidden_layers"),
        dtype=compute.dtype,
        left=listed.left,
        has_chat_template=stores_template(base.path),
    )


def _with_speed(found: ModelCheck, base: ModelRef, compute: Compute) -> ModelCheck:
    """The result with the model's speed. Raises ModelError where it cannot be loaded or run."""
    model, _ = load(base.path, dtype=getattr(torch, compute.dtype), device=compute.device)
    return replace(found, tokens_s=measure_speed(model, compute))


@torch.no_grad()
def measure_speed(model: Any, compute: Compute) -> float:
    """Tokens a second in a small batch, with the threads of one worker; the fastest of a few."""
    set_threads(compute.threads)
    ids = torch.arange(BATCH * LENGTH, device=compute.device).reshape(BATCH, LENGTH)
    ids = ids % model.config.get_text_config().vocab_size
    seconds = []
    for _ in range(PASSES):
        started = time.monotonic()
        model(input_ids=ids).logits.cpu()
        seconds.append(time.monotonic() - started)
    return ids.numel() / min(seconds)
