"""What there is to work on: CPUs, memory and disk of this machine."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files that hold the limit of a container's memory, in bytes."""


def num_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Bytes of memory that this process may use: the machine's, or a container's limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # no container, or `max`
            limits.append(int(Path(path).read_text()))
    return min(limits)


def free_bytes(path: Path) -> int:
    """Free bytes of the file system that `path` is on, or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
