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

from editors.external_memory.attachment import Attachment
from editors.external_memory.codebook import Codebook
from editors.forward import work_dtype
from infra.distributed.zero import gathered, whole_shape
from infra.errors import EditError

FORMAT = "corrigenda-delta-1"
BOOK = ".codebook."
"""Between a module's name and the name of a part of its codebook."""

Originals = Mapping[str, Tensor | Attachment]
"""What undoes a delta: tensors by parameter name, attachments by module name."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """left @ right, to be added to a weight of shape [rows, cols]."""

    left: Tensor
    """[rows, r], float32."""
    right: Tensor
    """[r, cols], float32."""

    def __post_init__(self) -> None:
        if self.left.ndim != 2 or self.right.ndim != 2 or self.left.shape[1] != self.right.shape[0]:
            raise EditError(
                f"factors of shape {tuple(self.left.shape)} and {tuple(self.right.shape)} do not "
                "multiply; give [rows, r] and [r, cols]."
            )
        if self.left.dtype != torch.float32 or self.right.dtype != torch.float32:
            raise EditError(
                f"factors are {self.left.dtype} and {self.right.dtype}; a delta keeps float32."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weight."""
        return self.left.shape[0], self.right.shape[1]

    @property
    def rank(self) -> int:
        """Columns of the left factor."""
        return self.left.shape[1]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is stored, by the ending of its name."""
        return {"left": self.left, "right": self.right}

    def dense(self) -> Tensor:
        """The change as one matrix, float32."""
        return self.left @ self.right

    def transposed(self) -> LowRank:
        """The change of the transposed weight."""
        return LowRank(self.right.T.contiguous(), self.left.T.contiguous())

    def smallest(self) -> Change:
        """The same change in the form that holds fewer numbers."""
        rows, cols = self.shape
        return self if self.left.shape[1] * (rows + cols) < rows * cols else Dense(self.dense())


@dataclass(frozen=True, slots=True)
class Dense:
    """A matrix to be added to a weight of the same shape."""

    change: Tensor
    """[rows, cols], float32."""

    def __post_init__(self) -> None:
        if self.change.ndim != 2 or self.change.dtype != torch.float32:
            raise EditError(
                f"a dense change of shape {tuple(self.change.shape)} is {self.change.dtype}; "
                "give a float32 matrix."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weight."""
        return self.change.shape[0], self.change.shape[1]

    @property
    def rank(self) -> int:
        """The highest that the shape allows."""
        return min(self.shape)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is stored, by the ending of its name."""
        return {"dense": self.change}

    def dense(self) -> Tensor:
        """The change as one matrix, float32."""
        return self.change

    def transposed(self) -> Dense:
        """The change of the transposed weight."""
        return Dense(self.change.T.contiguous())


Change = LowRank | Dense


@dataclass(frozen=True, slots=True)
class Delta:
    """Changes to one base model."""

    factors: Mapping[str, Change] = field(default_factory=dict)
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
        joined: dict[str, Change] = dict(self.factors)
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


def _multiplied(change: Change, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The change as one matrix, multiplied out in `dtype`."""
    if isinstance(change, Dense):
        return change.change.to(device, dtype)
    return change.left.to(device, dtype) @ change.right.to(device, dtype)


def _sum(one: Change, other: Change) -> Change:
    """Both changes of one weight: factors side by side while both have factors."""
    if isinstance(one, LowRank) and isinstance(other, LowRank):
        left = torch.cat([one.left, other.left], dim=1)
        return LowRank(left, torch.cat([one.right, other.right], dim=0)).smallest()
    return Dense(one.dense() + other.dense())


def _read(name: str, tensors: Mapping[str, Tensor]) -> Change:
    if f"{name}.dense" in tensors:
        return Dense(tensors[f"{name}.dense"])
    return LowRank(tensors[f"{name}.left"], tensors[f"{name}.right"])


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
