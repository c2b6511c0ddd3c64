"""A job with dumps has the same snapshot wherever it runs and whenever it is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from dump_helpers import dump_of, line_of, spread, write

from discovery.snapshot.output import MANIFEST
from infra.storage.workspace import Workspace

JOB = """
line = "tiny"
workspace = "{workspace}"
[model]
name = "none"
[[sources]]
kind = "dump"
name = "dump"
path = "d.json.gz"
relations = ["P31"]
[[sources]]
kind = "dump"
name = "other"
path = "e.json.bz2"
[[editions]]
as_of = 2024-01-01
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_job_with_a_dump_here_on_ray_and_killed(tmp_path: Path, checkpoint: Any) -> None:
    """`corrigenda run --until snapshot` of two dumps has the same id in one process, on Ray, and
    killed with -9 at random points and run again."""
    things = spread(60_000)
    write(tmp_path / "d.json.gz", dump_of(*map(line_of, things)))
    write(tmp_path / "e.json.bz2", dump_of(*map(line_of, things[:500])))
    rng, ids = random.Random(2), {}
    for name, address, kills in (("here", "none", 0), ("ray", "local", 0), ("killed", "none", 6)):
        place = tmp_path / name
        config = tmp_path / f"{name}.toml"
        text = JOB.format(workspace=place).replace('"none"', f'"{checkpoint("llama")}"', 1)
        config.write_text(text)
        program = Path(sys.executable).parent / "corrigenda"
        command = [program, "run", "--until", "snapshot", "-c", config, "--ray-address", address]
        for _ in range(kills):
            job = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            begun, wait = time.monotonic(), rng.uniform(0.0, 0.4)
            before = len(list(place.rglob("*.parquet")))
            while job.poll() is None and len(list(place.rglob("*.parquet"))) <= before:
                time.sleep(0.01)
                assert time.monotonic() - begun < 60
            time.sleep(wait)
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        made = Workspace.at(str(place)).find("snapshot", "2024.01.01")
        assert made is not None and made.counts["facts"] > 30_000
        ids[name] = made.json(MANIFEST)["snapshot_id"]
    assert len(set(ids.values())) == 1
