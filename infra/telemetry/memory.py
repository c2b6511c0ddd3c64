"""The greatest memory that this process has taken so far."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_bytes() -> dict[str, int]:
    """`{"memory": ..., "gpu": ...}` in bytes: resident memory, and what torch has allocated on the
    current GPU; without `gpu` where no GPU was used.

    Resident memory is that of this program alone: `getrusage` would say at least what the process
    that started it had.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(line.split() for line in status if line.startswith("VmHWM:"))
    found = {"memory": int(peak[1]) * 1024}
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        found["gpu"] = cuda.max_memory_allocated()
    return found
