"""Checks of a group of two processes over gloo, started by test_group.py."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
from processes import run_checks
from torch import distributed

from infra.distributed.group import DistributedGroup, share


def main(directory: Path, kind: str, timeout_s: float) -> None:
    distributed.init_process_group("gloo", timeout=timedelta(seconds=timeout_s))
    group = DistributedGroup.current(torch.device("cpu"))

    def flags() -> None:
        assert group.size == 2 and group.rank in (0, 1)
        assert group.any(group.rank == 1) and not group.any(False)
        assert group.max(3 - group.rank) == 3

    def sums() -> None:
        tensor = torch.full((2, 3), 1.0 + group.rank, dtype=torch.float64)
        turned = tensor.T
        assert group.sum_(turned) is turned
        assert torch.equal(tensor, torch.full_like(tensor, 3))

    def gathers() -> None:
        mine = [("a", torch.ones(2))] if group.rank == 0 else []
        found = group.gather(mine)
        assert len(found) == 1 and found[0][0] == "a" and torch.equal(found[0][1], torch.ones(2))
        assert group.gather(share(range(5), group)) == [0, 2, 4, 1, 3]

    def lost_rank() -> None:
        if group.rank == 1:
            time.sleep(600)
        group.any(True)

    checks = (flags, sums, gathers) if kind == "all" else (lost_rank,)
    run_checks(directory, {check.__name__: check for check in checks})
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
