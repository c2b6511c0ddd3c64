"""What a process started for itself does not outlive it, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.execution.watchdog import KEEP_ENVIRONMENT, VARIABLE, marked, watched

PARENT = """
import os, signal, subprocess, sys, time
from pathlib import Path
from infra.execution.watchdog import watched

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a program under nohup is started without

def sleeper():
    return subprocess.Popen(["sleep", "60"], start_new_session=True).pid

with watched() as begin:
    ours = sleeper()
    begin(Path(sys.argv[1]))
    print(ours, sleeper(), flush=True)
    if sys.argv[2] == "stays":
        time.sleep(60)
"""
"""Starts a process inside and one outside of the watched time, and then stays or goes."""


def eventually(true: Callable[[], bool], limit_s: float = 15.0) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + limit_s
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, None])
def test_ends_with_its_parent(ending: signal.Signals | None, tmp_path: Path) -> None:
    """However the parent ends, its own Ray's processes go; the session's directory is kept where it
    ended in order, for its logs. Other processes of the parent stay."""
    session = tmp_path / "session"
    session.mkdir()
    command = [sys.executable, "-c", PARENT, session, "stays" if ending else "goes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        ours, other = map(int, parent.stdout.readline().split())
        try:
            if ending:
                assert runs(ours)
                parent.send_signal(ending)
            parent.wait(30)
            assert eventually(lambda: not runs(ours))
            assert runs(other)
            assert eventually(lambda: session.exists() == (ending is None))
        finally:
            os.kill(other, signal.SIGKILL)


def test_the_mark_is_in_no_later_process() -> None:
    """Only what starts before the session is told has the mark, also with one watch in another."""
    with watched() as begin:
        outer = os.environ[VARIABLE]
        with watched() as begin_inner:
            assert os.environ[VARIABLE] != outer
            begin_inner(Path("/nonexistent"))
            assert os.environ[VARIABLE] == outer
        begin(Path("/nonexistent"))
        assert VARIABLE not in os.environ
        assert not marked(outer)


TITLED = """
import sys
from ray._raylet import setproctitle

setproctitle("ray::Agent")
print(flush=True)
sys.stdin.read()
"""


def test_a_process_that_takes_a_title_keeps_the_mark() -> None:
    """Ray's agents do, and write it over the place where others see their environment."""
    with watched() as begin:
        mark = os.environ[VARIABLE]
        command = [sys.executable, "-c", TITLED]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as titled:
            assert titled.stdout
            titled.stdout.readline()
            assert Path(f"/proc/{titled.pid}/cmdline").read_bytes().startswith(b"ray::Agent")
            assert titled.pid in marked(mark)
            titled.kill()
        begin(Path("/nonexistent"))
    assert KEEP_ENVIRONMENT not in os.environ
