"""Damage to a finished workspace: every kind of file flipped, cut and removed, and every command
asked. Nothing passes unnoticed, and nothing ends in a traceback."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from worlds import VERSIONS, job

from infra.errors import CorrigendaError
from infra.storage.integrity import BYTES, RECORD, RECORD_DIGEST, read_record
from infra.storage.workspace import Workspace
from pipeline.flow import run_editions
from pipeline.lineage import Parent, left_by
from pipeline.release import ledger
from pipeline.release.alias import Alias

NEXT = "2022.06.30"
"""An edition that is not made yet."""


def flipped(data: bytes) -> bytes:
    """One bit is another, in the middle."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flipped,
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "removed": lambda _: None,
}


@contextmanager
def damaged(path: Path, how: str) -> Iterator[None]:
    """A file is damaged in the block, and as it was after it."""
    data, wanted = path.read_bytes(), DAMAGE[how](path.read_bytes())
    path.unlink()  # it may have a link elsewhere
    if wanted is not None:
        path.write_bytes(wanted)
    yield
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def a_file_of_each_kind(root: Path) -> list[Path]:
    """Files of a workspace that differ in more than numbers; of stages, those of the last edition."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and VERSIONS[0] not in str(p))
    kinds = {re.sub(r"\d+|[0-9a-f]{16,}", "#", str(p.relative_to(root))): p for p in files}
    return sorted(kinds.values())


@pytest.fixture()
def finished(world: Callable[..., Path], tmp_path: Path) -> Path:
    """Workspace of two releases."""
    root = tmp_path / "workspace"
    run_editions(job(world(), root))
    return root


def test_nothing_that_is_damaged_passes_unnoticed(finished: Path, corrigenda: Any) -> None:
    """`verify` names each file; what reads one refuses it in one line; lists name the others; and
    all is whole again once the file is."""
    place = ("-w", finished)
    assert corrigenda("verify", *place)[0] == 0
    files, turn = a_file_of_each_kind(finished), cycle(DAMAGE)
    assert len(files) > 60
    for path in files:
        for how in DAMAGE:
            if how == "removed" and "cache" in path.parts:
                continue  # a cache may be emptied
            with damaged(path, how):
                code, out, _ = corrigenda("verify", *place, "--json")
                wrong = [d for v in json.loads(out)["versions"] for d in v["damage"]]
            said = [d["path"] for d in wrong if path.is_relative_to(Path(d["path"]))]
            assert code == 1 and said, (path, how)
            assert all(d["remedy"].endswith(".") for d in wrong)
        with damaged(path, next(turn)):
            for words in (("status",), ("releases",), ("why", "Neymar"), ("verify",)):
                code, out, err = corrigenda(*words, *place)
                assert (code, err.count("\n")) in ((0, 0), (1, 1)) or words == ("verify",), path
                assert words != ("releases",) or VERSIONS[0] in out, path
            if path.is_relative_to(finished / "release"):
                for words in (("ask", "Neymar"), ("rollback", VERSIONS[1])):
                    code, out, err = corrigenda(*words, *place)
                    assert code == 1 and not out and err.count("\n") == 1, (words, path, err)
                _, out, _ = corrigenda("releases", *place, "--json")
                assert [bool(row["damage"]) for row in json.loads(out)][-1:] == [
                    read_record_exists(path)
                ], path
                with pytest.raises(CorrigendaError):
                    _ = follow(finished)
    assert corrigenda("verify", *place)[0] == 0


def read_record_exists(path: Path) -> bool:
    """Whether a release is listed at all: it has a record."""
    release = next(p for p in path.parents if p.parent.name == "release")
    return (release / RECORD).exists()


def follow(root: Path) -> object:
    """What the next edition takes from the releases before it."""
    workspace = Workspace.at(str(root))
    parent = Parent.of(workspace, Alias(root, "tiny"), NEXT)
    return parent, left_by(workspace, parent.release)
