"""The greatest memory of processes within a span of time, on Linux."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from infra.telemetry.memory import peak_bytes

RESET = "5"
"""What clear_refs takes to set the peak of a process to its present memory (man 5 proc)."""


def begin() -> None:
    """Free what this process holds without need, and begin a span: of this process and of the
    workers of the Ray that it started."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    for place in [Path("/proc/self"), *_workers()]:
        with suppress(OSError):
            (place / "clear_refs").write_text(RESET)


def end() -> tuple[int, int]:
    """Peaks of the span in bytes: of this process, and of the largest of these workers that is
    still there, 0 without any."""
    return peak_bytes()["memory"], max(map(_peak, _workers()), default=0)


def _workers() -> list[Path]:
    """The directories in /proc of the workers of the Ray that this process started."""
    parents: dict[str, str] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may have ended
            # The name of a program, in parentheses before the parent, may hold anything.
            parents[place.name] = (place / "stat").read_text().rpartition(")")[2].split()[1]
    own, found = {str(os.getpid())}, 0
    while found < len(own):
        found = len(own)
        own |= {number for number, parent in parents.items() if parent in own}
    return [Path("/proc", number) for number in sorted(own) if _is_worker(Path("/proc", number))]


def _is_worker(place: Path) -> bool:
    with suppress(OSError):
        return (place / "cmdline").read_bytes().startswith(b"ray::")
    return False


def _peak(place: Path) -> int:
    """The peak of a process in bytes, 0 where it has ended."""
    with suppress(OSError):
        for line in (place / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
