"""What the workers of a stage wait for, and until when: told through a file for each wait.

Workers may run in other processes or on other machines, so a wait is a file in a directory of the
stage's output, which is there for as long as the wait.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TOLD_S = 5.0
"""Seconds of the shortest wait that is told."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something outside of this program that is waited for, such as a host or a database."""

    what: str
    """What is waited for, as a clause: `a.org, which asks for 500 s between requests`."""
    since_s: float
    """When the wait began, in seconds since 1970."""
    until_s: float
    """When it ends at the latest."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Tells the waits of a process. Picklable."""

    directory: Path | None = None
    """Where the files are; None tells nobody."""

    @contextmanager
    def told(self, what: str, seconds: float) -> Generator[None, None, None]:
        """Tell that the block waits for `what` for at most so many seconds, where they are more
        than `TOLD_S`. A file that cannot be written is left out: the wait matters more."""
        if self.directory is None or seconds < TOLD_S:
            yield
            return
        now_s = time.time()
        name = hashlib.sha256(f"{what} {os.getpid()}".encode()).hexdigest()[:32]
        file = self.directory / f"{name}.json"
        temporary = file.with_suffix(".tmp")
        with suppress(OSError):
            self.directory.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps([what, now_s, now_s + seconds]), encoding="utf-8")
            temporary.replace(file)
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def read_waits(directory: Path, now_s: float) -> list[Wait]:
    """The waits that are told in a directory and not over, the oldest first. Those of a process
    that died end when their time is over.

    now_s  the time now, in seconds since 1970
    """
    found = []
    for file in directory.glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            found.append(Wait(*json.loads(file.read_text(encoding="utf-8"))))
    return sorted((wait for wait in found if wait.until_s > now_s), key=lambda wait: wait.since_s)
