"""Modules of the benchmarks run in a process of their own, as a peer needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common.hardware import ROOT


def run_module(module: str, job: Path) -> None:
    """Run `python -m module job`, whatever the current directory; its output is not shown.

    Raises CalledProcessError where the process fails.
    """
    paths = os.pathsep.join((str(ROOT), *sys.path))
    subprocess.run(
        [sys.executable, "-m", module, str(job)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
    )
