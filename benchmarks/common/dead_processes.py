"""A run on Ray of which one process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROCESSES = {
    "driver": "",
    "worker": "ray::",
    "raylet": "raylet/raylet",
    "GCS": "gcs/gcs_server",
}
"""Process -> a part of its command line; the driver is the process that was started."""
WAITED_S = 120.0
"""Longest wait for a stage to begin."""
LEFT_S = 20.0
"""Time in which the processes of a dead run have to be gone."""


@dataclass(frozen=True, slots=True)
class Killed:
    """What became of a run of which a process was killed."""

    code: int | None
    """Exit code of the run; negative for a signal, None where it hung and was killed."""
    err: str
    left: Sequence[str]
    """Command lines of its processes that were still there afterwards."""


def kill_a_process(words: Sequence[str], process: str, begun: Path, allowed_s: float) -> Killed:
    """Run a command, and kill one of its processes as soon as a stage has begun.

    words      of the command, without the program's name
    process    a key of `PROCESSES`
    begun      directory of the stage's outputs, where one that is unfinished shows the moment
    allowed_s  seconds after which the run is taken for hung

    Raises TimeoutError where the stage does not begin or there is no such process.
    """
    program = str(Path(sys.executable).parent / "corrigenda")
    run = subprocess.Popen(
        [program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + WAITED_S
    while not (list(begun.glob("*.partial")) and (found := _find(run.pid, process))):
        if time.monotonic() > until or run.poll() is not None:
            run.kill()
            raise TimeoutError(f"{process} in {begun.name}: the run was over before")
        time.sleep(0.01)
    family = descendants(run.pid)
    os.kill(found, signal.SIGKILL)
    try:
        _, err = run.communicate(timeout=allowed_s)
        code = run.returncode
    except subprocess.TimeoutExpired:
        run.kill()
        code, (_, err) = None, run.communicate()
    until = time.monotonic() + LEFT_S
    while (left := [word for pid in family if (word := _words(pid))]) and time.monotonic() < until:
        time.sleep(0.2)
    return Killed(code, err, left)


def descendants(pid: int) -> set[int]:
    """Numbers of all processes that a process has started, and of those that these have started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def _find(driver: int, process: str) -> int | None:
    """Number of a process of a run; None where there is none yet."""
    part = PROCESSES[process]
    if not part:
        return driver
    found = [pid for pid in descendants(driver) if part in _words(pid)]
    busy = [pid for pid in found if "IDLE" not in _words(pid)] if part == "ray::" else found
    return min(busy, default=None)


def _words(pid: int) -> str:
    """Command line of a process; empty where it is gone or waits for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
