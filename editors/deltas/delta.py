"""The value an editor returns: changes of named weights and codebooks, kept apart from any model.

A change is low-rank factors, or dense where the rank is too high for factors to be smaller. Both
are float32 and in the weight's own stored orientation. Applying computes in float32 (float64 for a
float64 weight), casts once, and returns the tensors that were there; putting those back is bitwise
exact. A codebook answers for a module and is attached to it, no weight changes. r: rank.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from editors.deltas.attachment import Attachment
from editors.deltas.codebook import Codebook
from editors.deltas.weights import WeightChange, _multiplied, _read, _sum
from editors.internals.forward import work_dtype
from infra.distributed.zero import gathered, whole_shape
from infra.errors import EditError

FORMAT = "corrigenda-delta-1"
BOOK = ".codebook."
"""Between a module's name and the name of a part of its codebook."""

Originals = Mapping[str, Tensor | Attachment]
"""What undoes a delta: tensors by parameter name, attachments by module name."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Changes to one base model."""

    factors: Mapping[str, WeightChange] = field(default_factory=dict)
    """Of weights, by parameter name."""
    codebooks: Mapping[str, Codebook] = field(default_factory=dict)
    """By the name of the module that they answer for."""

    def dense(self, name: str) -> Tensor:
        """The change of one weight, float32, in its stored shape."""
        return self.factors[name].dense()

    @torch.no_grad()
    def apply_(self, model: nn.Module) -> dict[str, Tensor | Attachment]:
        """Add to the model's weights in place and attach codebooks; return what `restore_` needs.

        Of a sharded model all ranks do it together. Raises EditError, before anything is written,
        when a name or a shape is not the model's.
        """
        parameters = self._parameters(model)
        undo: dict[str, Tensor | Attachment] = {}
        try:
            for name, codebook in self.codebooks.items():
                undo[name] = codebook.attach(model)
        except EditError:
            restore_(model, undo)
            raise
        for name, factor in self.factors.items():
            weight = parameters[name]
            with gathered([weight], write=True):
                undo[name] = weight.detach().clone()
                dtype = work_dtype(weight.dtype)
                change = _multiplied(factor, weight.device, dtype)
                weight.copy_((weight.to(dtype) + change).to(weight.dtype))
        return undo

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[Originals]:
        """The model with this delta inside the `with`, and bitwise as before after it."""
        originals = self.apply_(model)
        try:
            yield originals
        finally:
            restore_(model, originals)

    def concatenate(self, *others: Delta) -> Delta:
        """The sum of deltas: factors side by side, logs of codebooks one after the other."""
        joined: dict[str, WeightChange] = dict(self.factors)
        for name, factor in (item for other in others for item in other.factors.items()):
            if name in joined:
                if joined[name].shape != factor.shape:
                    raise EditError(
                        f"deltas of {name} have shapes {joined[name].shape} and {factor.shape}; "
                        "they were made for different models."
                    )
                factor = _sum(joined[name], factor)
            joined[name] = factor
        codebooks = dict(self.codebooks)
        for name, book in (item for other in others for item in other.codebooks.items()):
            codebooks[name] = codebooks[name].joined(book) if name in codebooks else book
        return Delta(joined, codebooks)

    @property
    def digest(self) -> str:
        """SHA-256 of names, shapes and bytes, whatever the order of names."""
        digest = hashlib.sha256(FORMAT.encode())
        for name in sorted(self.factors):
            for part in self.factors[name].tensors.values():
                digest.update(json.dumps([name, list(part.shape)]).encode())
                digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        for name in sorted(self.codebooks):
            digest.update(self.codebooks[name].digest.encode())
        return digest.hexdigest()

    def save(self, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write a safetensors file: `<name>.left` and `.right`, or `.dense`, and text metadata.

        Of codebooks `<module>.codebook.keys` and so on, with their logs in the metadata.
        """
        tensors = {
            f"{name}.{side}": part.detach().cpu().contiguous()
            for name, factor in self.factors.items()
            for side, part in factor.tensors.items()
        }
        header = {**(metadata or {}), "format": FORMAT}
        for name, codebook in self.codebooks.items():
            parts, header[name + BOOK] = codebook.pack()
            tensors |= {f"{name}{BOOK}{part}": tensor for part, tensor in parts.items()}
        save_file(tensors, path, header)

    @classmethod
    def load(cls, path: Path) -> Delta:
        """Read what `save` wrote. Raises EditError when the file is not a delta."""
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise EditError(f"{path} cannot be read as a delta: {error}") from error
        if header.get("format") != FORMAT:
            raise EditError(f"{path} has format {header.get('format')!r}; a delta has {FORMAT!r}.")
        names = sorted({key.rpartition(".")[0] for key in tensors if BOOK not in key})
        codebooks: dict[str, Codebook] = {}
        for key in sorted(key for key in header if key.endswith(BOOK)):
            parts = {name.removeprefix(key): x for name, x in tensors.items() if key in name}
            name = key.removesuffix(BOOK)
            codebooks[name] = Codebook.unpack(name, parts, header[key])
        return cls({name: _read(name, tensors) for name in names}, codebooks)

    def _parameters(self, model: nn.Module) -> dict[str, nn.Parameter]:
        parameters = dict(model.named_parameters())
        for name, factor in self.factors.items():
            if name not in parameters:
                raise EditError(f"the delta changes {name}, which {type(model).__name__} lacks.")
            if whole_shape(parameters[name]) != factor.shape:
                raise EditError(
                    f"the delta of {name} has shape {factor.shape}, the weight "
                    f"{whole_shape(parameters[name])}: it was made for another model."
                )
        return parameters


@torch.no_grad()
def restore_(model: nn.Module, originals: Originals) -> None:
    """Put back the tensors that `Delta.apply_` returned, bitwise, and detach its codebooks."""
    parameters = dict(model.named_parameters())
    for name, original in originals.items():
        if isinstance(original, Attachment):
            original.detach()
        else:
            with gathered([parameters[name]], write=True):
                parameters[name].copy_(original)
