"""The greatest memory of a process."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from infra.telemetry.memory import peak_bytes


def test_what_was_freed_counts() -> None:
    """A tensor of 200 MB that is gone is in the peak; without a GPU only memory is told."""
    status = Path("/proc/self/statm").read_text().split()
    now = int(status[1]) * os.sysconf("SC_PAGE_SIZE")
    held = torch.ones(50_000_000)
    del held
    after = peak_bytes()
    assert after["memory"] > now + 190e6
    assert ("gpu" in after) == torch.cuda.is_initialized()
