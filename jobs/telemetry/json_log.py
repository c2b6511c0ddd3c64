"""The log of a run, one JSON object a line.

Each line has the keys of `KEYS`, null where they do not apply, and those of its event. Values are
without secrets: texts are masked as errors are (`infra.secrets.masks`).
"""

from __future__ import annotations

import logging
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.display import json_line, say
from infra.errors import reason
from infra.secrets.masks import mask_message

KEYS = ("time", "level", "event", "run", "line", "edition", "stage", "version", "shard")
"""Keys of every line."""
PACKAGES = ("discovery", "editors", "infra", "jobs", "pipeline")
"""Packages whose messages are logged."""


class JsonLog(logging.Handler):
    """Adds lines to a file. One that cannot be written is said once; the run goes on."""

    def __init__(self, path: Path, line: str) -> None:
        """
        path  of the file, which may have lines of earlier runs
        line  the model line of the run
        """
        super().__init__(logging.INFO)
        self.path = path
        self.run = uuid.uuid4().hex[:12]
        """Tells the lines of this run from those of others in the same file."""
        self.context: dict[str, Any] = {"line": line}
        """Values of `KEYS` that hold for the lines to come."""
        self._broken = False
        self._writing = threading.Lock()

    def write(self, event: str, *, level: str = "info", **more: Any) -> None:
        """Add the line of an event."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        head = {"time": moment, "level": level, "event": event, "run": self.run}
        told = {**dict.fromkeys(KEYS), **self.context, **head, **more}
        text = json_line(_masked(told), default=str)
        with self._writing:
            if self._broken:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"{text}\n")
            except OSError as error:
                self._broken = True
                say(f"log {self.path}: {reason(error)}. The run goes on.", file=sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """Add a message of a module; `shard` among its extras tells the shard."""
        self.write(
            "message",
            level=record.levelname.lower(),
            logger=record.name,
            text=record.getMessage(),
            shard=getattr(record, "shard", None),
        )

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Log the messages of our packages from level INFO on inside the `with`. Warnings are still
        printed."""
        printed = [logging.lastResort] if logging.lastResort and not logging.root.handlers else []
        loggers = [logging.getLogger(name) for name in PACKAGES]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.INFO)
            for handler in (self, *printed):
                logger.addHandler(handler)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
                for handler in (self, *printed):
                    logger.removeHandler(handler)


def _masked(value: Any) -> Any:
    """A value whose texts are without secrets."""
    if isinstance(value, str):
        return mask_message(value)
    if isinstance(value, Mapping):
        return {_masked(key): _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value
