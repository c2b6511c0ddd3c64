"""What there is to work on: CPUs, memory and disk of this machine, or a cluster elsewhere."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

from infra.errors import StageError

CONNECT_S = 5.0
"""Longest time, in seconds, that a cluster may take to accept a connection."""
CURRENT_CLUSTER = Path("/tmp/ray/ray_current_cluster")
"""File in which Ray keeps the address of the cluster that runs on this machine."""
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


def require_reachable(address: str) -> str:
    """`host:port` of a cluster that accepts a connection.

    address  `host:port`, `ray://host:port`, or `auto` for the cluster that runs on this machine

    Raises StageError within `CONNECT_S` seconds where nothing listens there.
    """
    place = address.removeprefix("ray://")
    if address == "auto":
        place = os.environ.get("RAY_ADDRESS", "")
        with suppress(OSError):
            place = place or CURRENT_CLUSTER.read_text().strip()
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            return place
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no cluster is known there"
        raise StageError(
            f"no Ray at {address!r} ({reason}). Give the address of a running cluster "
            "(host:port), `local` to start one here, or `none` to run in this process."
        ) from error
