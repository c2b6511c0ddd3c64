"""Processes that compute one result together: who this one is, and what it may ask of all.

Every method is a collective: all ranks call it, in the same order, or all of them wait for the
time-out. `ALONE` is the group of one, which needs no process group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Group(Protocol):
    """Ranks 0 to size - 1, of which this process is one."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on at least one rank."""
        ...

    def max(self, number: int) -> int:
        """The greatest of the ranks' numbers."""
        ...

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace the tensor, of one shape and dtype everywhere, by its sum over ranks."""
        ...

    def gather(self, items: Sequence[T]) -> list[T]:
        """All ranks' picklable items, rank 0's first; tensors among them belong on the CPU.

        Ranks may have unlike numbers of items, also none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """The group of one process."""

    rank: int = 0
    size: int = 1

    def any(self, flag: bool) -> bool:
        return flag

    def max(self, number: int) -> int:
        return number

    def sum_(self, tensor: Tensor) -> Tensor:
        return tensor

    def gather(self, items: Sequence[T]) -> list[T]:
        return list(items)


ALONE: Group = Alone()


@dataclass(frozen=True, slots=True)
class DistributedGroup:
    """All ranks of torch.distributed's default process group, which exists already."""

    rank: int
    size: int
    device: torch.device
    """Where collectives take their tensors: the process's GPU under NCCL, the CPU under gloo."""

    @classmethod
    def joined(cls, device: torch.device) -> DistributedGroup:
        """The group this process is in."""
        from torch import distributed

        return cls(distributed.get_rank(), distributed.get_world_size(), device)

    def any(self, flag: bool) -> bool:
        return bool(self.max(int(flag)))

    def max(self, number: int) -> int:
        from torch import distributed

        found = torch.tensor(number, dtype=torch.long, device=self.device)
        distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
        return int(found)

    def sum_(self, tensor: Tensor) -> Tensor:
        from torch import distributed

        there = tensor.to(self.device).contiguous()
        distributed.all_reduce(there)
        return tensor if there is tensor else tensor.copy_(there)

    def gather(self, items: Sequence[T]) -> list[T]:
        from torch import distributed

        found: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(found, list(items))
        return [item for part in found for item in part]


def share(items: Sequence[T], group: Group) -> list[T]:
    """This rank's items: every `size`-th, so that what is sorted by length is spread evenly."""
    return list(items[group.rank :: group.size])
