"""Names that move: `production` points at one release of a line, and remembers where it pointed
before.

An alias is a log of numbered files, `aliases/<line>/<alias>/<seq>.json`, each created only if
absent. The highest number is the truth. Two movers collide on a number; the loser reads again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from infra.files.atomic import put_if_absent

PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Move:
    """One entry of the log."""

    seq: int
    version: str
    reason: str


class Alias:
    """One alias of one model line."""

    def __init__(self, root: Path, line: str, name: str = PRODUCTION) -> None:
        self.directory = root / "aliases" / line / name

    def history(self) -> list[Move]:
        """All moves, the current one last."""
        files = sorted(self.directory.glob("[0-9]*.json"))
        return [
            Move(int(file.stem), **json.loads(file.read_text(encoding="utf-8"))) for file in files
        ]

    def current(self) -> str | None:
        """Version the alias points at."""
        history = self.history()
        return history[-1].version if history else None

    def move(self, version: str, reason: str) -> Move:
        """Point the alias at a version. Atomic: readers see the old target or the new."""
        while True:
            history = self.history()
            seq = history[-1].seq + 1 if history else 1
            text = json.dumps({"version": version, "reason": reason}, sort_keys=True)
            if put_if_absent(self.directory / f"{seq:08d}.json", text + "\n"):
                return Move(seq, version, reason)
