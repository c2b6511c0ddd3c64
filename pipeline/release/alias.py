"""Aliases of releases: `production` names one release of a line, and keeps a log of earlier ones.

An alias is a log of numbered files, `aliases/<line>/<alias>/<seq>.json`; the file with the highest
number names the present release. A file is created only if it does not exist, so of two processes
that write the same number at once, one fails and tries the next number. `head.json` beside them has
the number of the last entry, so that a lost one is noticed.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import ConfigError, StageError
from infra.files.atomic import write_json
from infra.files.digest import digest_of
from infra.storage.names import check_name
from infra.storage.workspace import Workspace
from infra.storage.writing import written

log = logging.getLogger(__name__)

PRODUCTION = "production"
"""Alias of the release that is served."""
HEAD = "head.json"
"""File with the number of the last entry of a log. It is written after the entry, so it may be
behind the log, and never before it."""
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
    kept: tuple[str, ...] = ()
    """Finished releases that the alias does not point at, and never did: they were finished when
    it had moved elsewhere, or their own entries are lost."""
    lost_from: int | None = None
    """Number of the first of the entries before this one that were lost when it was written."""


class Alias:
    """One alias of one model line."""

    def __init__(self, workspace: Workspace, line: str, name: str = PRODUCTION) -> None:
        self.workspace, self.line = workspace, line
        self.directory = workspace.root / "aliases" / check_name(line, "line") / name

    def history(self) -> list[Move]:
        """All entries of the log, the present one last. Raises StageError where one is missing, is
        not what was written, or names no version."""
        there = self.directory.iterdir() if self.directory.is_dir() else ()
        moves = [_read(file) for file in sorted(there) if _ENTRY.fullmatch(file.name)]
        number = 1
        for move in moves:
            if move.seq != number and move.lost_from != number:
                raise StageError(
                    f"{self.directory} has no entry {number}, but later ones. Restore the file "
                    "from a backup."
                )
            number = move.seq + 1
        return moves

    def current(self) -> str | None:
        """Version of the release that the alias points at; None if it was never set. Raises
        StageError where the last entry of the log is lost."""
        self.require_last()
        return self.last()

    def last(self) -> str | None:
        """Version of the release that the last entry there is names, lost ones aside; None where
        there is none."""
        history = self.history()
        return history[-1].version if history else None

    def known(self) -> frozenset[str]:
        """Versions of all releases that the log names: they were pointed at, or are kept beside."""
        return frozenset(v for move in self.history() for v in (move.version, *move.kept))

    def require_last(self) -> None:
        """Raises StageError where the last entry of the log is lost."""
        head, history = self._head(), self.history()
        last = history[-1].seq if history else 0
        if last < head:
            raise StageError(
                f"{self.directory} is not whole: its last entry was number {head}, and now it is "
                f"{last or 'none'}, so nobody knows which release of {self.line} is in production. "
                "Restore the file from a backup, or say it with `corrigenda rollback VERSION`; "
                "`corrigenda run --from VERSION` builds on a release in any case."
            )

    @written("the log of production")
    def move(self, version: str, reason: str, *, kept: Sequence[str] = ()) -> Move:
        """Point the alias at a release, atomically; return the new entry of the log.

        kept  finished releases that the log does not name otherwise
        """
        while True:
            head, history = self._head(), self.history()
            if move := self._put(head, history, version, reason, kept):
                return move

    @written("the log of production")
    def move_from(
        self, present: str | None, version: str, reason: str, *, kept: Sequence[str] = ()
    ) -> Move | None:
        """Point the alias at a release if it points at `present` now (compare and swap); return the
        new entry, or None where the alias points elsewhere."""
        while True:
            head, history = self._head(), self.history()
            if (history[-1].version if history else None) != present:
                return None
            if move := self._put(head, history, version, reason, kept):
                return move

    def _put(
        self, head: int, history: Sequence[Move], version: str, reason: str, kept: Sequence[str]
    ) -> Move | None:
        """Write the entry after `history`; None where another process was faster.

        head  number of the last entry, read before `history`: an entry that is added between the
              two is then in `history`, and none is taken for lost
        """
        last = history[-1].seq if history else 0
        move = Move(
            max(last, head) + 1,
            version,
            reason,
            kept=tuple(sorted(kept)),
            lost_from=last + 1 if last < head else None,
        )
        row = _row(move)
        text = json.dumps({**row, "digest": _digest(move.seq, row)}, sort_keys=True) + "\n"
        if not self.workspace.create(self.directory / f"{move.seq:08d}.json", text):
            return None
        try:
            write_json(self.directory / HEAD, {"seq": move.seq})
            self.workspace.publish(self.directory / HEAD)
        except (OSError, StageError) as error:  # it has moved; an error would say it has not
            log.warning(
                "%s cannot be written (%s): until the next move, nobody would notice that the "
                "last entry of the log is lost",
                self.directory / HEAD,
                getattr(error, "strerror", error),
            )
        return move

    def _head(self) -> int:
        """Number of the last entry by the file beside the log; 0 where there is none, as beside a
        log that an earlier version wrote. Raises StageError where it cannot be read."""
        path = self.directory / HEAD
        try:
            return int(json.loads(path.read_text(encoding="utf-8"))["seq"])
        except FileNotFoundError:
            return 0
        except (ValueError, KeyError, TypeError) as error:
            raise StageError(
                f"{path} is damaged: it should be JSON with a number `seq`. Write the number of "
                "the last entry beside it, or restore it from a backup."
            ) from error


def _row(move: Move) -> dict[str, Any]:
    """An entry as its file has it, without its digest."""
    row: dict[str, Any] = {"version": move.version, "reason": move.reason}
    if move.kept:
        row["kept"] = list(move.kept)
    if move.lost_from is not None:
        row["lost_from"] = move.lost_from
    return row


def _read(file: Path) -> Move:
    """The entry in a file. Raises StageError."""
    why = "it is cut or altered"
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
        kept = tuple(row.get("kept", ()))
        move = Move(int(file.stem), row["version"], row["reason"], kept, row.get("lost_from"))
        for version in (move.version, *kept):
            check_name(version, "version")
        whole = row.get("digest") in (None, _digest(move.seq, _row(move)))
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


def _digest(seq: int, row: dict[str, Any]) -> str:
    """Digest of an entry and its number. Entries of earlier versions have none."""
    return digest_of([seq, row])
