"""Changes of one weight: low-rank factors or a dense matrix, float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

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


WeightChange = LowRank | Dense


def _multiplied(change: WeightChange, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The change as one matrix, multiplied out in `dtype`."""
    if isinstance(change, Dense):
        return change.change.to(device, dtype)
    return change.left.to(device, dtype) @ change.right.to(device, dtype)


def _sum(one: WeightChange, other: WeightChange) -> WeightChange:
    """Both changes of one weight: factors side by side while both have factors."""
    if isinstance(one, LowRank) and isinstance(other, LowRank):
        left = torch.cat([one.left, other.left], dim=1)
        return LowRank(left, torch.cat([one.right, other.right], dim=0)).smallest()
    return Dense(one.dense() + other.dense())


def _read(name: str, tensors: Mapping[str, Tensor]) -> WeightChange:
    if f"{name}.dense" in tensors:
        return Dense(tensors[f"{name}.dense"])
    return LowRank(tensors[f"{name}.left"], tensors[f"{name}.right"])
