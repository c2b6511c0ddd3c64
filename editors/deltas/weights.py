"""Changes of one weight matrix: low-rank factors or a dense matrix, float32, in the orientation in
which the weight is stored; and such a change as a part of a delta."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from editors.deltas.part import Factors, Part, tensor_bytes
from editors.internals.forward import work_dtype
from infra.distributed.zero import gathered, whole_shape
from infra.errors import EditError


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
        """r, the number of columns of the left factor."""
        return self.left.shape[1]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is stored in a file, by name."""
        return {"left": self.left, "right": self.right}

    def dense(
        self, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
    ) -> Tensor:
        """The change as one matrix [rows, cols], multiplied out in `dtype` on `device` (None: where
        the factors are)."""
        return self.left.to(device, dtype) @ self.right.to(device, dtype)

    def transposed(self) -> LowRank:
        """The change of the transposed weight."""
        return LowRank(self.right.T.contiguous(), self.left.T.contiguous())

    def smallest(self) -> WeightChange:
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
        """The highest rank that the shape allows; the true one is not computed."""
        return min(self.shape)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is stored in a file, by name."""
        return {"dense": self.change}

    def dense(
        self, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
    ) -> Tensor:
        """The change [rows, cols] in `dtype` on `device` (None: where it is)."""
        return self.change.to(device, dtype)

    def transposed(self) -> Dense:
        """The change of the transposed weight."""
        return Dense(self.change.T.contiguous())


WeightChange = LowRank | Dense


@dataclass(frozen=True, slots=True)
class WeightPart(Part):
    """A change of one weight as a part of a delta."""

    kind: ClassVar[str] = ""
    in_checkpoint: ClassVar[bool] = True

    target: str
    """Name of the parameter, as `named_parameters` has it."""
    change: WeightChange
    """What is added to it."""

    @property
    def size(self) -> int:
        """The rank."""
        return self.change.rank

    def pack(self) -> tuple[dict[str, Tensor], str]:
        """`left` and `right`, or `dense`; no text."""
        tensors = self.change.tensors
        return {name: x.detach().cpu().contiguous() for name, x in tensors.items()}, ""

    @classmethod
    def unpack(cls, target: str, tensors: Mapping[str, Tensor], text: str) -> Self:
        """The part that `pack` packed."""
        if "dense" in tensors:
            return cls(target, Dense(tensors["dense"]))
        return cls(target, LowRank(tensors["left"], tensors["right"]))

    def check(self, model: nn.Module) -> None:
        """Raise EditError where the model has no such parameter, or one of another shape."""
        parameter = dict(model.named_parameters()).get(self.target)
        if parameter is None:
            raise EditError(f"the delta changes {self.target}, which {type(model).__name__} lacks.")
        if whole_shape(parameter) != self.change.shape:
            raise EditError(
                f"the delta of {self.target} has shape {self.change.shape}, the weight "
                f"{whole_shape(parameter)}: it was made for another model."
            )

    def attach(self, model: nn.Module) -> Callable[[], None]:
        """Add the change to the weight in place: in float32 (float64 for a float64 weight), cast
        once. The returned function puts the original tensor back."""
        weight = model.get_parameter(self.target)
        with torch.no_grad(), gathered([weight], write=True):
            original = weight.detach().clone()
            dtype = work_dtype(weight.dtype)
            change = self.change.dense(dtype=dtype, device=weight.device)
            weight.copy_((weight.to(dtype) + change).to(weight.dtype))

        def put_back() -> None:
            with torch.no_grad(), gathered([weight], write=True):
                weight.copy_(original)

        return put_back

    def join(self, other: Part) -> Self:
        """The sum: factors side by side while both have factors, else a dense matrix."""
        if not isinstance(other, WeightPart) or self.change.shape != other.change.shape:
            found = other.change.shape if isinstance(other, WeightPart) else type(other).__name__
            raise EditError(
                f"deltas of {self.target} have shapes {self.change.shape} and {found}; they were "
                "made for different models."
            )
        one, two = self.change, other.change
        if isinstance(one, LowRank) and isinstance(two, LowRank):
            left = torch.cat([one.left, two.left], dim=1)
            joined = LowRank(left, torch.cat([one.right, two.right], dim=0)).smallest()
        else:
            joined = Dense(one.dense() + two.dense())
        return type(self)(self.target, joined)

    def without(self, ids: Container[str]) -> Self:
        """Always raises EditError: all edits share one change of the weight."""
        raise EditError(
            f"the change of {self.target} is that of all its edits together. Solve the other edits "
            "anew from the base model."
        )

    def compose(self, stored: Callable[[str], Tensor]) -> dict[str, Tensor]:
        """The stored weight plus the change."""
        return {self.target: stored(self.target) + self.change.dense()}

    def low_rank(self) -> Factors | None:
        """The factors; None for a dense change."""
        change = self.change
        return {self.target: (change.left, change.right)} if isinstance(change, LowRank) else None

    def digested(self) -> Iterator[bytes]:
        """Parameter name, shape and numbers of each tensor."""
        for tensor in self.change.tensors.values():
            yield from tensor_bytes(self.target, tensor)
