"""The tensors that a model directory stores, and whether they can be those of its config.

Only headers are read, and the model is made without numbers (PyTorch's `meta` device), so that a
config or a header that lies costs no memory: what is allocated afterwards is at most twice what the
files hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from infra.errors import ModelError
from infra.models.files import ModelFiles, model_files, read_config
from infra.models.names import loaded_names, skeleton

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Types of safetensors in which weights are stored that are not quantised."""
MAX_MODULES = 2**15
"""Layers, blocks or experts of the largest model; Doge has 16,384 experts. Each may become an
object, with numbers or not."""
MAX_BUFFERS = 2**28
"""Numbers in a model's buffers, such as masks, that are allocated whatever is stored."""
TIED = 2
"""How often a stored number may be in the model: input and output embeddings may share theirs."""
_COUNT = re.compile(r"(?:layers|blocks|experts|depth|^n_layer)$")
"""The names of settings that say how many modules a model has. Others name one: LLaVA's
`vision_feature_layer = -2` is the second layer from the end."""
_QUANTISED = re.compile(
    r"\.(?:qweight|qzeros|g_idx|weight_scale|weight_scale_inv|weight_packed|SCB|absmax|quant_map"
    r"|quant_state\.\w+)$"
)
"""Names of tensors that GPTQ, AWQ, bitsandbytes, FP8 and compressed-tensors store."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a file, by the file's header."""

    file: str
    shape: tuple[int, ...]
    dtype: str
    """As safetensors call it: `F32`, `BF16`, `I8`."""


def stored_tensors(path: Path, files: ModelFiles) -> dict[str, Stored]:
    """Name of every stored tensor -> where it is and what it is like. Reads headers only.

    Raises ModelError for a file that cannot be read, and for a tensor that is in two files.
    """
    found: list[tuple[str, Stored]] = []
    for name in files.weights:
        try:
            with safe_open(path / name, "pt") as stream:
                for key in stream.keys():  # noqa: SIM118, the stream is no mapping
                    part = stream.get_slice(key)
                    found.append((key, Stored(name, tuple(part.get_shape()), part.get_dtype())))
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(
                f"model {path}: {name} cannot be read ({error}). It is cut or damaged: copy or "
                "download it again."
            ) from None
    twice = sorted(key for key, count in Counter(key for key, _ in found).items() if count > 1)
    if twice:
        where = " and ".join(sorted(tensor.file for key, tensor in found if key == twice[0]))
        raise ModelError(
            f"model {path} stores {twice[0]} in {where}: loaders differ in which they take. Keep "
            "the files of one save."
        )
    return dict(found)


def require_fit(path: Path) -> None:
    """Raises ModelError unless a model of the config can be made of what the directory stores.

    Checked are the sizes in the config, the number of parameters and, of each tensor that becomes a
    parameter unchanged, its shape and type. Tensors that are missing or superfluous are found when
    the model is loaded (`infra.models.loading.load`).
    """
    stored = stored_tensors(path, model_files(path))
    _require_float(path, stored)
    for key, value in _counts(read_config(path)):
        if not 0 <= value <= max(MAX_MODULES, len(stored)):
            raise ModelError(
                f"model {path}: config.json has {key} = {value:.4g}, and {len(stored)} tensors are "
                "stored. Its config or its weights are another model's."
            )
    model = skeleton(path)
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    made = sum(tensor.numel() for tensor in parameters.values())
    held = sum(prod(tensor.shape) for tensor in stored.values())
    if made > TIED * held or sum(tensor.numel() for tensor in buffers.values()) > MAX_BUFFERS:
        raise ModelError(
            f"model {path} lacks weights: its config makes a model of {made:.4g} numbers, and its "
            f"files store {held:.4g}. Copy or download its files again."
        )
    for name, (loaded, is_whole) in loaded_names(model, stored).items():
        if not is_whole or loaded not in parameters:
            continue
        wanted = tuple(parameters[loaded].shape)
        if stored[name].shape != wanted:
            raise ModelError(
                f"model {path} stores {loaded} as {stored[name].shape}, its config wants {wanted}. "
                "Its config or its weights are another model's."
            )
        if stored[name].dtype not in FLOATS:
            raise ModelError(
                f"model {path} stores {loaded} as {stored[name].dtype}, which is quantised or no "
                f"weight. Give a model in one of {', '.join(sorted(FLOATS))}."
            )


def _require_float(path: Path, stored: Mapping[str, Stored]) -> None:
    """Raises ModelError for tensors that only a quantised model has."""
    found = next((name for name in stored if _QUANTISED.search(name)), None)
    if found is not None:
        raise ModelError(
            f"model {path} is quantised: it stores {found}. Give the unquantised base model, and "
            "quantise the release."
        )


def _counts(config: Any) -> Iterator[tuple[str, float]]:
    """Setting and value of the numbers of modules in a config, at any depth."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            yield from (
                (key, value)
                for key, value in part.items()
                if isinstance(value, int | float) and _COUNT.search(key)
            )
