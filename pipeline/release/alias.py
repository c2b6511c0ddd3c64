"""Aliases of releases: `production` names one release of a line, and keeps a log of earlier ones.

An alias is a log of numbered files, `aliases/<line>/<alias>/<seq>.json`; the file with the highest
number names the present release. A file is created only if it does not exist, so of two processes
that write the same number at once, one fails and tries the next number.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from infra.errors import ConfigError, StageError
from infra.files.atomic import put_if_absent
from infra.files.digest import digest_of
from infra.storage.names import check_name
from infra.storage.writing import written

PRODUCTION = "production"
"""Alias of the release that is served."""
_ENTRY = re.compile(r"[0-9]{8}\.json")
"""Names of entries. Other files in the directory, such as the copies that a program makes which
synchronises files, are no entries."""


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
        self.directory = root / "aliases" / check_name(line, "line") / name

    def history(self) -> list[Move]:
        """All entries of the log, the present one last. Raises StageError where one is missing, is
        not what was written, or names no version."""
        there = self.directory.iterdir() if self.directory.is_dir() else ()
        moves = [_read(file) for file in sorted(there) if _ENTRY.fullmatch(file.name)]
        for seq, move in enumerate(moves, 1):
            if move.seq != seq:
                raise StageError(
                    f"{self.directory} has no entry {seq}, but later ones. Restore the file from a "
                    "backup."
                )
        return moves

    def current(self) -> str | None:
        """Version of the release that the alias points at; None if it was never set."""
        history = self.history()
        return history[-1].version if history else None

    @written("the log of production")
    def move(self, version: str, reason: str) -> Move:
        """Point the alias at a release, atomically; return the new entry of the log."""
        while True:
            history = self.history()
            seq = history[-1].seq + 1 if history else 1
            entry = {"version": version, "reason": reason}
            text = json.dumps({**entry, "digest": _digest(seq, entry)}, sort_keys=True)
            if put_if_absent(self.directory / f"{seq:08d}.json", text + "\n"):
                return Move(seq, version, reason)


def _read(file: Path) -> Move:
    """The entry in a file. Raises StageError."""
    why = "it is cut or altered"
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
        move = Move(int(file.stem), entry["version"], entry["reason"])
        check_name(move.version, "version")
        said = {"version": move.version, "reason": move.reason}
        whole = entry.keys() == said.keys() or entry["digest"] == _digest(move.seq, said)
    except ConfigError as error:
        whole, move, why = False, None, str(error).rstrip(".")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole, move = False, None
    if move is None or not whole:
        raise StageError(
            f"{file} is no entry of the log: {why}. Restore it from a backup; or, where it is the "
            "last entry, delete it and say with `corrigenda rollback VERSION` which release is in "
            "production."
        )
    return move


def _digest(seq: int, entry: dict[str, str]) -> str:
    """Digest of an entry and its number. Entries of earlier versions have none."""
    return digest_of([seq, entry])
