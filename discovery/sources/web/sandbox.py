"""Parse feeds and pages in a process of its own, with limits of time and memory.

Documents that anybody may have written are not parsed in a worker of the crawl. At worst a document
is lost, with a reason, and never the worker.
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
from discovery.sources.web.items import Item, UnreadableDocument

CPU_S = 20
"""Seconds of CPU time for one document."""
LIMIT_REASON = "takes too much time or memory to read"
ELAPSED_FACTOR = 15
"""Elapsed time may be so many times the CPU time, for a machine that is busy."""


def read(
    kind: Literal["feed", "page"],
    body: bytes,
    url: str,
    headers: Mapping[str, str],
    *,
    cpu_s: int = CPU_S,
) -> tuple[list[Item], str | None]:
    """The items of a feed, or the single one of a page, and a fault of the document or None.

    headers  of the response; the content type is used
    cpu_s    seconds of CPU time

    Raises UnreadableDocument, also for a document that takes too much time or memory.
    """
    command = [sys.executable, "-P", str(items.__file__), kind, str(cpu_s)]
    about = json.dumps({"url": url, "content-type": headers.get("content-type", "")})
    try:
        done = subprocess.run(
            command,
            input=about.encode() + b"\n" + body,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=ELAPSED_FACTOR * cpu_s,
        )
    except subprocess.TimeoutExpired:
        raise UnreadableDocument(LIMIT_REASON) from None
    if done.returncode != 0:  # negative: ended by a signal, at a limit
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2].partition(":")[0]
        stopped = done.returncode < 0 or last == "MemoryError"
        raise UnreadableDocument(
            LIMIT_REASON if stopped else f"the reader of {kind}s fails ({last})"
        )
    answer = json.loads(done.stdout)
    if answer["unreadable"] is not None:
        raise UnreadableDocument(*answer["unreadable"])
    return [_item(**fields) for fields in answer["items"]], answer["fault"]


def _item(*, day: str | None, faults: list[str], **about: str) -> Item:
    """An item from its JSON."""
    return Item(day=date.fromisoformat(day) if day else None, faults=tuple(faults), **about)
