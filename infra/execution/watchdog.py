"""A process that ends the Ray processes of this machine when the one that started them is gone.

Ray's first processes die with their parent, but the agents that its raylet starts may stay for ever
where the parent is killed. The watchdog is a process of its own, tied to its parent by a pipe: when
the pipe closes, by whatever end of the parent, it kills every process that inherited the mark in
its environment. Processes of any other Ray do not have that mark. Linux only (`/proc`).

Run as a program it needs the standard library alone: `watchdog.py MARK`, with lines on its input.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "CORRIGENDA_RAY_SESSION"
"""Environment variable that all processes of one local Ray inherit."""
KEEP_ENVIRONMENT = "SPT_NOENV"
"""Environment variable by which a process of Ray that takes a title, such as `ray::DashboardAgent`,
writes it over its arguments alone. Otherwise it overwrites its environment, and with it the mark.
"""
ENDED = "ended"
"""Line that the parent writes when it stopped Ray by itself."""
SWEEP_S = 10.0
"""Longest time, in seconds, for which new processes with the mark are looked for."""
PAUSE_S = 0.2
"""Seconds between two looks; a process that was just forked gets the mark when it is executed."""


@contextmanager
def watched() -> Iterator[Callable[[Path], None]]:
    """Watch over the Ray that is started and stopped inside the `with`.

    Yields a function to be called when Ray runs, with the directory of its session. What is left of
    Ray's processes at the end of the `with` is killed; where this process is killed before that
    end, the directory is removed too.
    """
    mark = uuid.uuid4().hex
    outside = {name: value for name, value in os.environ.items() if name != VARIABLE}
    before = {name: os.environ.get(name) for name in (VARIABLE, KEEP_ENVIRONMENT)}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=outside,  # a watchdog around this process must not end this one
        start_new_session=True,  # Ctrl-C of a terminal is sent to its whole session
        text=True,
    ) as watchdog:
        pipe = watchdog.stdin
        assert pipe is not None

        def begin(session: Path) -> None:
            _set_variables(before)  # Ray's processes have the mark; later ones are not Ray's
            with suppress(BrokenPipeError):
                print(session, file=pipe, flush=True)

        _set_variables({VARIABLE: mark, KEEP_ENVIRONMENT: "1"})
        try:
            yield begin
        finally:
            _set_variables(before)
            with suppress(BrokenPipeError):
                print(ENDED, file=pipe, flush=True)
                pipe.close()


def marked(mark: str) -> list[int]:
    """Ids of the running processes of this user that were started with the mark."""
    entry = f"{VARIABLE}={mark}".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with suppress(OSError):  # it has ended, or is another user's
                if entry in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
    return found


def sweep(mark: str) -> None:
    """Kill all processes with the mark, until there was none in two looks."""
    end = time.monotonic() + SWEEP_S
    looks = 0
    while looks < 2 and time.monotonic() < end:
        found = marked(mark)
        looks = 0 if found else looks + 1
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_S if found or looks < 2 else 0.0)


def watch(mark: str, lines: Iterator[str]) -> None:
    """Wait until the parent has closed the pipe, then end its Ray.

    lines  what the parent writes: the session's directory, and `ENDED` where it ended in order
    """
    told = [line.strip() for line in lines]
    sweep(mark)
    if told and told[-1] != ENDED:
        shutil.rmtree(told[0], ignore_errors=True)


def _set_variables(values: Mapping[str, str | None]) -> None:
    """Set variables of this process's environment; None removes one."""
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


if __name__ == "__main__":
    watch(sys.argv[1], iter(sys.stdin.readline, ""))
