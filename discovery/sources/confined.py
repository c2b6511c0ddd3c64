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

from discovery.sources import feed_items
from discovery.sources.feed_items import Item, Unreadable

CPU_S = 20
"""What reading one document may take."""
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
    command = [sys.executable, "-P", str(feed_items.__file__), kind, url, str(cpu_s)]
    told = json.dumps({name: headers[name] for name in ("content-type",) if name in headers})
    try:
        done = subprocess.run(
            command,
            input=told.encode() + b"\n" + body,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=CLOCK * cpu_s,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # stopped at a limit, it says nothing
        raise Unreadable("takes too much time or memory to read") from None
    if answer["unreadable"] is not None:
        raise Unreadable(answer["unreadable"])
    return [_item(**about) for about in answer["items"]], answer["fault"]


def _item(*, day: str | None, faults: list[str], **about: str) -> Item:
    return Item(day=date.fromisoformat(day) if day else None, faults=tuple(faults), **about)
