"""A part of a delta: one change of one parameter or module, and all that others ask of it.

A part is a frozen value that knows no model until it is attached to one. `Delta` calls what is
declared here and never asks of which kind a part is.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn

Factors = dict[str, tuple[Tensor, Tensor]]
"""By parameter name: left [rows, r] and right [r, cols], float32, whose product is added to the
parameter in its stored orientation."""


class Part(ABC):
    """One change of a model. Subclasses are frozen dataclasses, one kind a file."""

    kind: ClassVar[str]
    """Its key in `PARTS`. In a file the names of its tensors begin with `<target>.<kind>.`. The
    empty kind is that of weight changes, whose tensors begin with `<target>.`."""
    own_attention: ClassVar[bool] = False
    """Whether a model with this part must be asked with the attention implementation that it was
    loaded with, because the part compares hidden states with stored ones."""
    in_checkpoint: ClassVar[bool] = False
    """Whether `compose` and `complete` write all of the part into a checkpoint. Other parts have to
    be attached to the loaded checkpoint."""
    unit: ClassVar[str] = ""
    """Plural noun for what `size` counts, for people: `codebook entries`. Empty: records of a run
    do not count this kind."""

    target: str
    """Name of the parameter or module that it changes. A delta has at most one part of a kind for
    a target."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many units it has. A part of size 0 changes nothing and is left out of a delta."""

    @abstractmethod
    def pack(self) -> tuple[dict[str, Tensor], str]:
        """Tensors on the CPU by name, and a text (JSON, if anything), for a file."""

    @classmethod
    @abstractmethod
    def unpack(cls, target: str, tensors: Mapping[str, Tensor], text: str) -> Self:
        """The part that `pack` packed."""

    @abstractmethod
    def check(self, model: nn.Module) -> None:
        """Raise EditError where the part does not fit the model. Writes nothing."""

    @abstractmethod
    def attach(self, model: nn.Module) -> Callable[[], None]:
        """Put the part in force on a model that `check` accepts.

        Returns a function that takes it off: afterwards all weights and outputs of the model are
        bitwise what they were. On a sharded model all ranks call both together.
        """

    @abstractmethod
    def join(self, other: Part) -> Self:
        """This part with another of the same kind and target on top. Raises EditError where the
        other is of another kind, or made for another model."""

    @abstractmethod
    def without(self, ids: Container[str]) -> Self:
        """The part as if the requests of these ids had never been written.

        Raises EditError where the edits in it cannot be told apart.
        """

    def tokenizer(self, tokenizer: Any) -> Any:
        """The tokenizer that a model with this part is to be asked with, made of the base's own,
        which is left as it is. Raises EditError for a tokenizer that the part was not made for."""
        return tokenizer

    def compose(self, stored: Callable[[str], Tensor]) -> dict[str, Tensor]:
        """Parameters of a checkpoint with the part in them, by name, float32.

        `stored` returns a parameter of the checkpoint, float32, with the parts composed so far.
        """
        return {}

    def complete(self, checkpoint: Path) -> None:  # noqa: B027, most parts add nothing
        """Write into an exported checkpoint, which has what `compose` gave, what a server reads of
        the part beside weights of the base's shapes. The directory is one that is being made."""

    def low_rank(self) -> Factors | None:
        """The whole part as low-rank factors, for an adapter; None if it has no such form."""
        return None

    @property
    def digest(self) -> str:
        """SHA-256 of kind, target and everything packed, in hexadecimal."""
        tensors, text = self.pack()
        digest = hashlib.sha256(f"corrigenda-{self.kind}-1 {self.target} {text}".encode())
        for name in sorted(tensors):
            for piece in tensor_bytes(name, tensors[name]):
                digest.update(piece)
        return digest.hexdigest()

    def digested(self) -> Iterator[bytes]:
        """What the digest of a delta with this part is taken over."""
        yield self.digest.encode()


def tensor_bytes(name: str, tensor: Tensor) -> Iterator[bytes]:
    """Name and shape as JSON, then the numbers."""
    yield json.dumps([name, list(tensor.shape)]).encode()
    yield tensor.detach().cpu().contiguous().numpy().tobytes()
