"""The alias log: the last move counts, two movers never overwrite each other."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from infra.errors import StageError
from infra.storage.workspace import Workspace
from pipeline.release.alias import Alias


def test_history(tmp_path: Path) -> None:
    """Nothing is forgotten."""
    alias = Alias(Workspace(tmp_path), "line")
    assert alias.current() is None
    alias.move("v1", "first")
    alias.move("v2", "second")
    alias.move("v1", "rollback")
    assert alias.current() == "v1"
    assert [m.version for m in alias.history()] == ["v1", "v2", "v1"]


def test_two_movers_both_land(tmp_path: Path) -> None:
    """Every move has a number of its own, without a gap."""
    movers = [
        threading.Thread(target=Alias(Workspace(tmp_path), "line").move, args=(f"v{i}", "race"))
        for i in range(8)
    ]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    assert [m.seq for m in Alias(Workspace(tmp_path), "line").history()] == list(range(1, 9))


def test_a_move_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """Compare and swap: of two movers that began with the same release, one lands."""
    alias = Alias(Workspace(tmp_path), "line")
    assert alias.move_from(None, "v1", "first") is not None
    assert alias.move_from("v1", "v2", "second") is not None
    assert alias.move_from("v1", "v3", "too late") is None
    alias.move("v2", "v3 is kept", kept=["v3"])
    assert alias.current() == "v2" and alias.known() == {"v1", "v2", "v3"}


def test_a_move_that_took_place_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the disk gets full between the entry and the number beside it, the alias has moved: a
    line says what is missing, and nobody moves it a second time. The next move writes it."""
    alias = Alias(Workspace(tmp_path), "line")
    alias.move("v1", "passed")

    def full(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.release.alias.write_json", full)
        assert alias.move("v2", "passed").seq == 2
    assert "head.json cannot be written (No space left on device)" in caplog.text
    assert alias.current() == "v2"
    alias.move("v1", "rollback")
    (alias.directory / "00000003.json").unlink()
    with pytest.raises(StageError, match="last entry was number 3"):
        alias.current()


def test_a_lost_last_entry_is_noticed(tmp_path: Path) -> None:
    """By the number beside the log; the next move gets a number of its own, and heals it."""
    alias = Alias(Workspace(tmp_path), "line")
    for version in ("v1", "v2"):
        alias.move(version, "passed")
    (alias.directory / "00000002.json").unlink()
    with pytest.raises(StageError, match=r"last entry was number 2, and now it is 1"):
        alias.current()
    assert alias.last() == "v1"
    assert alias.move("v2", "said by a person").seq == 3
    assert alias.current() == "v2"
