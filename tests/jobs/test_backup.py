"""A workspace is backed up, restored and moved by copying files, as docs/operations.md says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from worlds import VERSIONS, job

from infra.storage.artifact import Artifact
from pipeline.flow import run_editions


def test_a_copy_without_caches_is_whole_and_goes_on(
    released: tuple[Path, Path], tmp_path: Path, corrigenda: Any
) -> None:
    """In another place: everything is whole, the same command makes nothing, and production can be
    moved."""
    config, workspace = released
    backup = tmp_path / "elsewhere" / "copy"
    shutil.copytree(workspace / "aliases", backup / "aliases")
    rest = shutil.ignore_patterns("cache", "*.partial")
    shutil.copytree(workspace, backup, ignore=rest, dirs_exist_ok=True)
    code, out, _ = corrigenda("verify", "-w", backup)
    assert code == 0 and out.count(": whole") == 3
    made: list[Artifact] = []
    run_editions(job(config, backup, end=made.append))
    assert made and not any(artifact.made_now for artifact in made)
    code, out, _ = corrigenda("rollback", "-w", backup)
    assert code == 0 and f"{VERSIONS[1]} -> {VERSIONS[0]} ({backup}" in out
    assert not [
        path for path in backup.rglob("*.json") if str(workspace).encode() in path.read_bytes()
    ]
