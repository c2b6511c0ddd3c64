"""The value an editor returns: parts, each a change of one parameter or module, kept apart from any
model.

A delta is put in force on a model and taken off again, bitwise; added to another; written to a file
and read; composed into a checkpoint. It does all of that by asking its parts, and knows of no kind
of part. What each kind is and how it computes stands in its own file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from editors.deltas import PARTS
from editors.deltas.part import Factors, Part
from infra.errors import EditError
from infra.files.tensors import save_tensors

FORMAT = "corrigenda-delta-1"

P = TypeVar("P", bound=Part)


class Stored(Protocol):
    """A checkpoint whose tensors can be read one by one."""

    def tensor(self, parameter: str, /) -> Tensor:
        """The stored tensor of a parameter, in its stored dtype."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """Changes to one base model."""

    parts: tuple[Part, ...] = ()
    """Kept sorted by kind and target, so that the order in which they are given does not matter;
    those of size 0 are left out."""

    def __post_init__(self) -> None:
        """Raises EditError for two parts of one kind and target; `concatenate` adds such parts."""
        ordered = sorted((part for part in self.parts if part.size), key=_place)
        for one, other in pairwise(ordered):
            if _place(one) == _place(other):
                raise EditError(
                    f"a delta has two parts of {one.target}; join them by `concatenate`."
                )
        object.__setattr__(self, "parts", tuple(ordered))

    def of(self, kind: type[P]) -> dict[str, P]:
        """The parts of one kind, by target."""
        return {part.target: part for part in self.parts if isinstance(part, kind)}

    @property
    def own_attention(self) -> bool:
        """Whether a model with this delta in force must be asked with the attention implementation
        that it was loaded with."""
        return any(part.own_attention for part in self.parts)

    def counts(self) -> dict[str, int]:
        """For a record: number of entries, by kind of part; 0 for a kind that is absent. Kinds
        without a unit (changes of weights) are not counted."""
        return {
            kind: sum(part.size for part in self.parts if part.kind == kind)
            for kind, known in PARTS.items()
            if known.unit
        }

    def apply_(self, model: nn.Module) -> ExitStack:
        """Put the delta in force on a model: weights are changed in place, hooks are registered.

        Closing what is returned takes it all off, bitwise. On a sharded model all ranks do both
        together. Raises EditError, before anything is written, where a part does not fit the model.
        """
        for part in self.parts:
            part.check(model)
        with ExitStack() as undo:
            for part in self.parts:
                undo.callback(part.attach(model))
            return undo.pop_all()

    def tokenizer(self, tokenizer: Any) -> Any:
        """The tokenizer that a model with this delta in force is to be asked with, made of the
        base's own, which is left as it is."""
        for part in self.parts:
            tokenizer = part.tokenizer(tokenizer)
        return tokenizer

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with this delta inside the `with`, and bitwise as before after it."""
        with self.apply_(model):
            yield

    def concatenate(self, *others: Delta) -> Delta:
        """This delta, then the others on top: parts of one kind and target are joined."""
        joined = {_place(part): part for part in self.parts}
        for part in (part for other in others for part in other.parts):
            earlier = joined.get(_place(part))
            joined[_place(part)] = earlier.join(part) if earlier else part
        return Delta(tuple(joined.values()))

    def without(self, ids: Container[str]) -> Delta:
        """As if the requests of these ids had never been written.

        Raises EditError where a part cannot tell its edits apart, as a change of weights cannot.
        """
        return Delta(tuple(part.without(ids) for part in self.parts))

    def weights(self, checkpoint: Stored) -> dict[str, Tensor]:
        """The changed parameters of a checkpoint with this delta in them, by name.

        Stored value plus changes in float32, rounded once to the stored dtype. Parts that have no
        form as weights add nothing; `load` with `beside_weights` reads those.
        """
        changed: dict[str, Tensor] = {}
        dtypes: dict[str, torch.dtype] = {}

        def stored(name: str) -> Tensor:
            if name in changed:
                return changed[name]
            tensor = checkpoint.tensor(name)
            dtypes[name] = tensor.dtype
            return tensor.float()

        for part in self.parts:
            changed |= part.compose(stored)
        return {name: tensor.to(dtypes[name]) for name, tensor in changed.items()}

    def complete(self, checkpoint: Path) -> None:
        """Write into an exported checkpoint, which has the changed weights, what else of the delta
        a server can load: tokens of the tokenizer."""
        for part in self.parts:
            part.complete(checkpoint)

    def low_rank(self) -> Factors | None:
        """The whole delta as low-rank factors; None where a part has no such form."""
        factors: Factors = {}
        for part in self.parts:
            found = part.low_rank()
            if found is None:
                return None
            factors |= found
        return factors

    @property
    def digest(self) -> str:
        """SHA-256 of names, shapes and bytes, in hexadecimal."""
        digest = hashlib.sha256(FORMAT.encode())
        for part in self.parts:
            for piece in part.digested():
                digest.update(piece)
        return digest.hexdigest()

    def save(self, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write a safetensors file, the same bytes for the same delta.

        Tensors are named `<target>.<kind>.<name>`, and the text of that part stands in the metadata
        as `<target>.<kind>.`. Tensors of weight changes are named `<target>.left` and `.right`, or
        `.dense`, without a text.
        """
        tensors: dict[str, Tensor] = {}
        header = {**(metadata or {}), "format": FORMAT}
        for part in self.parts:
            packed, text = part.pack()
            start = f"{part.target}.{part.kind}." if part.kind else f"{part.target}."
            tensors |= {start + name: tensor for name, tensor in packed.items()}
            if part.kind:
                header[start] = text
        save_tensors(tensors, path, header)
        _sort_metadata(path)

    @classmethod
    def load(cls, path: Path, *, beside_weights: bool = False) -> Delta:
        """Read what `save` wrote; with `beside_weights`, those parts only that an exported
        checkpoint does not hold. Raises EditError when the file is not a delta."""
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise EditError(
                        f"{path} has format {header.get('format')!r}; a delta has {FORMAT!r}."
                    )
                grouped = _by_part(file.keys(), header)  # (kind, target) -> name -> stored name
                parts: list[Part] = []
                for (kind, target), names in sorted(grouped.items()):
                    if kind not in PARTS:
                        raise EditError(
                            f"{path} has a part of kind {kind!r} for {target}, known are "
                            f"{[known for known in PARTS if known]}. Use a later version."
                        )
                    if beside_weights and PARTS[kind].in_checkpoint:
                        continue
                    tensors = {name: file.get_tensor(stored) for name, stored in names.items()}
                    text = header.get(f"{target}.{kind}.", "")
                    parts.append(PARTS[kind].unpack(target, tensors, text))
        except (SafetensorError, OSError) as error:
            raise EditError(f"{path} cannot be read as a delta: {error}") from error
        return cls(tuple(parts))


def recorded_counts(record: Mapping[str, Any]) -> dict[str, int]:
    """What `Delta.counts` put into a record; 0 for a kind that the record is older than."""
    return {kind: record.get(kind, 0) for kind, part in PARTS.items() if part.unit}


def _place(part: Part) -> tuple[str, str]:
    """What a delta has at most one part for."""
    return part.kind, part.target


def _by_part(
    names: Iterable[str], header: Mapping[str, str]
) -> dict[tuple[str, str], dict[str, str]]:
    """Names of stored tensors by kind and target of their part, and by their name in the part.

    Keys of the header that end in a dot name the parts that are not weight changes.
    """
    grouped: dict[tuple[str, str], dict[str, str]] = {}
    starts = {key: key[:-1].rpartition(".") for key in sorted(header) if key.endswith(".")}
    for target, _, kind in starts.values():
        grouped[kind, target] = {}
    for stored in names:
        start = next((start for start in starts if stored.startswith(start)), None)
        if start is None:
            target, _, name = stored.rpartition(".")
            grouped.setdefault(("", target), {})[name] = stored
        else:
            target, _, kind = starts[start]
            grouped[kind, target][stored.removeprefix(start)] = stored
    return grouped


def _sort_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file, which the library writes in a random order.

    The header is JSON behind its length in 8 bytes, little-endian.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length
        file.seek(8)
        file.write(text.ljust(length))
