"""Aliases of releases: `production` names one release of a line, and keeps a log of earlier ones.

An alias is a log of numbered files, `aliases/<line>/<alias>/<seq>.json`; the file with the highest
number names the present release. A file is created only if it does not exist, so of two processes
that write the same number at once, one fails and tries the next number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from infra.files.atomic import put_if_absent

PRODUCTION = "production"
"""Alias of the release that is served."""


@dataclass(frozen=True, slots=True)
class Move:
    """One entry of the log: the alias was pointed at a release."""

    seq: int
    """Number of the entry, from 1."""
    version: str
    """Version of the release."""
    reason: str


class Alias:
    """One alias of one model line."""

    def __init__(self, root: Path, line: str, name: str = PRODUCTION) -> None:
        self.directory = root / "aliases" / line / name

    def history(self) -> list[Move]:
        """All entries of the log, the present one last."""
        files = sorted(self.directory.glob("[0-9]*.json"))
        return [
            Move(int(file.stem), **json.loads(file.read_text(encoding="utf-8"))) for file in files
        ]

    def current(self) -> str | None:
        """Version of the release that the alias points at; None if it was never set."""
        history = self.history()
        return history[-1].version if history else None

    def move(self, version: str, reason: str) -> Move:
        """Point the alias at a release, atomically; return the new entry of the log."""
        while True:
            history = self.history()
            seq = history[-1].seq + 1 if history else 1
            text = json.dumps({"version": version, "reason": reason}, sort_keys=True)
            if put_if_absent(self.directory / f"{seq:08d}.json", text + "\n"):
                return Move(seq, version, reason)
