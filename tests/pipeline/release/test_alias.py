"""The alias log: the last move counts, two movers never overwrite each other."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.release.alias import Alias


def test_history(tmp_path: Path) -> None:
    """Nothing is forgotten."""
    alias = Alias(tmp_path, "line")
    assert alias.current() is None
    alias.move("v1", "first")
    alias.move("v2", "second")
    alias.move("v1", "rollback")
    assert alias.current() == "v1"
    assert [m.version for m in alias.history()] == ["v1", "v2", "v1"]


def test_two_movers_both_land(tmp_path: Path) -> None:
    """Every move has a number of its own, without a gap."""
    movers = [
        threading.Thread(target=Alias(tmp_path, "line").move, args=(f"v{i}", "race"))
        for i in range(8)
    ]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    assert [m.seq for m in Alias(tmp_path, "line").history()] == list(range(1, 9))
