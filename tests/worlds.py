"""Runs over the small world of `conftest.world`: in this process, or killed in one of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from benchmarks.common.small_world import TEMPLATE as TEMPLATE
from infra.execution.runner import InProcessRunner
from infra.files.atomic import write_json
from infra.files.digest import content_digest
from infra.storage import workspace as storage
from infra.storage.integrity import BYTES, RECORD, RECORD_DIGEST, bytes_of, read_record, sealed
from infra.storage.workspace import Workspace
from pipeline.config import load_config
from pipeline.flow import run_editions
from pipeline.run import Run

VERSIONS = ("2016.06.30", "2021.06.30")


def job(config: Path, workspace: Path | str, **more: Any) -> Run:
    settings = load_config(config, {"workspace": str(workspace)})
    place = Workspace.at(settings.workspace)
    return Run(
        config=settings,
        config_dir=config.parent,
        workspace=place,
        runner=InProcessRunner(),
        **more,
    )


def kill_at(run: Run, stage: str, version: str, moment: str) -> int:
    """Run in a forked process that is killed with SIGKILL in a stage; returns the wait status.

    `first` kills before the stage's first file gets its name, `commit` before its output does.
    """
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    now: list[tuple[str, str]] = [("", "")]
    object.__setattr__(run, "begin", lambda s, v: now.__setitem__(0, (s, v)))
    original = os.replace if moment == "first" else os.rename

    def deadly(source: Any, target: Any) -> None:
        if now[0] == (stage, version):
            os.kill(os.getpid(), signal.SIGKILL)
        original(source, target)

    setattr(storage.os, original.__name__, deadly)
    run_editions(run)
    os._exit(0)


def reseal(output: Path) -> None:
    """Write an output's record anew for the files that are there, as if a stage had made them so:
    for a test of what an output says, not of whether it is whole."""
    record = read_record(output)
    del record[RECORD_DIGEST]
    files = {name: output / name for name in record[BYTES]}
    record[BYTES] = {name: bytes_of(path) for name, path in files.items()}
    record["files"] = {name: content_digest(path) for name, path in files.items()}
    write_json(output / RECORD, sealed(record))
