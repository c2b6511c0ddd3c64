"""Commands of the program, run in forked processes in which everything is loaded already."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from jobs.cli import main

T = TypeVar("T")
Act = Sequence[str] | Callable[[], object]
"""The words of a command, or something that is done between commands."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    words: Sequence[str]
    code: int
    """Its exit code."""
    out: str
    err: str
    """What it wrote to standard output and standard error."""
    raised: str = ""
    """The traceback, if it ended in one."""


def run_here(words: Sequence[str]) -> Ended:
    """Run a command in this process, as the program `corrigenda` does."""
    kept = [os.dup(number) for number in (1, 2)]
    given, raised, code = sys.argv, "", 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        for number, stream in ((1, out), (2, err)):
            os.dup2(stream.fileno(), number)
        sys.argv = ["corrigenda", *words]
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        except BaseException:
            raised, code = traceback.format_exc(), 70
        finally:
            sys.argv = given
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
    return Ended(list(words), code, texts[0], texts[1], raised)


def run_forked(
    tasks: Iterable[tuple[T, Sequence[Act]]], *, jobs: int, allowed_s: float
) -> Iterator[tuple[T, list[Ended] | None]]:
    """Run lists of commands, each list in a process of its own, `jobs` at a time.

    What is done between commands is done in that process; an error in it ends the list.

    Yields the task and how its commands ended, as they end; None for a list that was not at its end
    after `allowed_s` seconds, and was killed.
    """
    running: dict[int, tuple[T, float, Path]] = {}
    waiting = iter(tasks)
    with tempfile.TemporaryDirectory() as directory:
        while True:
            while len(running) < jobs and (task := next(waiting, None)) is not None:
                report = Path(directory) / f"{time.monotonic_ns()}.json"
                running[_fork(task[1], report)] = task[0], time.monotonic() + allowed_s, report
            if not running:
                return
            for pid, (name, until, report) in list(running.items()):
                ended, _ = os.waitpid(pid, os.WNOHANG)
                if not ended and time.monotonic() < until:
                    continue
                if not ended:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                del running[pid]
                yield name, _read(report) if ended else None
            time.sleep(0.01)


def _fork(acts: Sequence[Act], report: Path) -> int:
    """Start a process that runs commands one after the other; its number."""
    pid = os.fork()
    if pid == 0:
        ended: list[Ended] = []
        try:
            for act in acts:
                if callable(act):
                    act()
                else:
                    ended.append(run_here(act))
        except BaseException:
            ended.append(Ended([], 70, "", "", traceback.format_exc()))
        finally:
            report.write_text(json.dumps([asdict(one) for one in ended]))
            os._exit(0)
    return pid


def _read(report: Path) -> list[Ended]:
    """How the commands of a process ended; a process that died is a command with a traceback."""
    if not report.exists():
        return [Ended([], 70, "", "", "the process died")]
    return [Ended(**ended) for ended in json.loads(report.read_text())]
