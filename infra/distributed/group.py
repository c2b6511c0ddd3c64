"""The group of processes that compute one result: this process's rank, and collectives.

Every method of a group is a collective: all ranks must call it, in the same order; a rank that does
not keeps the others waiting until the backend's time-out. `SINGLE_PROCESS` is the group of this
process alone, which needs no process group of torch.distributed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from infra.errors import ConfigError

TIMEOUT_S = 300.0
"""Seconds after which a collective fails: a rank has died, or hangs."""

T = TypeVar("T")


class Group(Protocol):
    """The processes of one computation, numbered by rank from 0 to size - 1."""

    @property
    def rank(self) -> int:
        """This process's number in the group."""
        ...

    @property
    def size(self) -> int:
        """Number of processes in the group."""
        ...

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on at least one rank."""
        ...

    def max(self, number: int) -> int:
        """The greatest of the ranks' numbers."""
        ...

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace the tensor in place by its sum over ranks, and return it.

        Shape and dtype must be the same on every rank.
        """
        ...

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all ranks in one list, rank 0's first; every rank gets the whole list.

        Items are picklable, and tensors among them are on the CPU. Ranks may give different numbers
        of items, also none.
        """
        ...


@dataclass(frozen=True, slots=True)
class SingleProcess:
    """The group of this process alone: each collective returns what it is given."""

    rank: int = 0
    size: int = 1

    def any(self, flag: bool) -> bool:
        """The flag itself."""
        return flag

    def max(self, number: int) -> int:
        """The number itself."""
        return number

    def sum_(self, tensor: Tensor) -> Tensor:
        """The tensor itself, unchanged."""
        return tensor

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items as a list."""
        return list(items)


SINGLE_PROCESS: Group = SingleProcess()


@dataclass(frozen=True, slots=True)
class DistributedGroup:
    """All ranks of torch.distributed's default process group, which must exist already."""

    rank: int
    size: int
    device: torch.device
    """Device that collectives need their tensors on: this process's GPU for NCCL, the CPU for
    gloo."""

    @classmethod
    def current(cls, device: torch.device) -> DistributedGroup:
        """The default process group, with this process's rank in it."""
        from torch import distributed

        return cls(distributed.get_rank(), distributed.get_world_size(), device)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on at least one rank."""
        return bool(self.max(int(flag)))

    def max(self, number: int) -> int:
        """The greatest of the ranks' numbers."""
        from torch import distributed

        greatest = torch.tensor(number, dtype=torch.long, device=self.device)
        distributed.all_reduce(greatest, op=distributed.ReduceOp.MAX)
        return int(greatest)

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace the tensor in place by its sum over ranks, and return it."""
        from torch import distributed

        total = tensor.to(self.device).contiguous()
        distributed.all_reduce(total)
        return tensor if total is tensor else tensor.copy_(total)

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all ranks in one list, rank 0's first."""
        from torch import distributed

        by_rank: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(by_rank, list(items))
        return [item for part in by_rank for item in part]


def local_device(device: str) -> torch.device:
    """This process's device in a group: `cpu`, or for `cuda` the GPU numbered LOCAL_RANK, which
    becomes the current one.

    Raises ConfigError in a process that no launcher of groups started, and for a device that the
    machine does not have.
    """
    missing = sorted({"RANK", "WORLD_SIZE", "LOCAL_RANK"} - os.environ.keys())
    if missing:
        raise ConfigError(
            f"no group of processes ({', '.join(missing)} not set). Start this with torchrun or "
            "Ray Train."
        )
    if device == "cpu":
        return torch.device("cpu")
    index = int(os.environ["LOCAL_RANK"])
    if device != "cuda" or index >= torch.cuda.device_count():
        raise ConfigError(
            f"device={device!r} for the process {index} of this machine, which has "
            f"{torch.cuda.device_count()} GPUs. Give `cuda` and a GPU for each, or `cpu`."
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def share(items: Sequence[T], group: Group) -> list[T]:
    """The items that this rank has to work on: every `size`-th, starting at its rank.

    Items sorted by length are so spread evenly over the ranks.
    """
    return list(items[group.rank :: group.size])
