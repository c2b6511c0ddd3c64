"""Running a test's checks in several processes that form one group.

A test launches a worker script under torchrun; the script gives its checks to `run_checks`, which
leaves a file for each check and rank. A check that fails on one rank ends all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

TESTS = Path(__file__).parent
PASSED = "passed"


def launch(
    script: Path, directory: Path, *args: str, timeout_s: float, num_processes: int = 2
) -> str:
    """Run `script directory args...` on `num_processes` ranks; all that they printed.

    Fails no test by itself, except when it takes longer than `timeout_s`: torchrun is then asked to
    end its workers, which it does at once.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={num_processes}", str(script), str(directory), *args]
    paths = [str(TESTS.parent), str(TESTS), str(TESTS / "editors"), os.environ.get("PYTHONPATH")]
    env = {
        **os.environ,
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        return process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            printed = process.communicate(timeout=60)[0]
        finally:
            process.kill()
        raise AssertionError(f"{script.name} hung for {timeout_s} s:\n{printed[-4000:]}") from None


def run_checks(directory: Path, checks: Mapping[str, Callable[[], None]]) -> None:
    """In a worker: run the checks in order and write down how each went; the first to fail ends
    it."""
    for name, check in checks.items():
        file = directory / f"{name}.{os.environ['RANK']}"
        try:
            check()
        except BaseException:
            file.write_text(traceback.format_exc(), encoding="utf-8")
            raise
        file.write_text(PASSED, encoding="utf-8")


def assert_passed(directory: Path, name: str, printed: str, num_processes: int = 2) -> None:
    """Raise what a check raised on a rank, or what was printed where it did not come to an end."""
    files = [directory / f"{name}.{rank}" for rank in range(num_processes)]
    for file in files:
        found = file.read_text(encoding="utf-8") if file.is_file() else PASSED
        assert found == PASSED, f"{file.name}: {found}"
    missing = [file.name for file in files if not file.is_file()]
    assert not missing, f"{missing} did not come to an end:\n{printed[-4000:]}"
