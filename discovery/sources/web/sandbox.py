"""Feeds and pages read in a process of their own, which may use so much time and memory.

What anybody may have written is not parsed in a worker of the crawl: at worst the document is lost,
with a reason, and never the worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from typing import Literal

from discovery.sources.web import items
from discovery.sources.web.items import Item, Unreadable

CPU_S = 20
"""What reading one document may take."""
STOPPED = "takes too much time or memory to read"
CLOCK = 15
"""Times as long by the clock, on a machine with much else to do."""


def read(
    kind: Literal["feed", "page"],
    body: bytes,
    url: str,
    headers: Mapping[str, str],
    *,
    cpu_s: int = CPU_S,
) -> tuple[list[Item], str | None]:
    """The items of a feed or the one of a page, and what is wrong with it besides. Raises
    Unreadable."""
    command = [sys.executable, "-P", str(items.__file__), kind, str(cpu_s)]
    told = json.dumps({"url": url, "content-type": headers.get("content-type", "")})
    try:
        done = subprocess.run(
            command,
            input=told.encode() + b"\n" + body,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=CLOCK * cpu_s,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(STOPPED) from None
    if done.returncode != 0:  # by a signal, where it is stopped at a limit
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2].partition(":")[0]
        stopped = done.returncode < 0 or last == "MemoryError"
        raise Unreadable(STOPPED if stopped else f"the reader of {kind}s fails ({last})")
    answer = json.loads(done.stdout)
    if answer["unreadable"] is not None:
        raise Unreadable(answer["unreadable"])
    return [_item(**about) for about in answer["items"]], answer["fault"]


def _item(*, day: str | None, faults: list[str], **about: str) -> Item:
    return Item(day=date.fromisoformat(day) if day else None, faults=tuple(faults), **about)
