"""Runs over the small world with the workspace in object storage, from machines of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from command import corrigenda
from s3_server import new_bucket, serving
from worlds import VERSIONS, job

from infra.storage.object_store import ObjectStore
from infra.storage.workspace import Workspace
from pipeline.flow import run_editions
from pipeline.queries.status import releases, status
from pipeline.release import ledger

pytestmark = pytest.mark.slow

KILLED = """
import os, signal, sys, time
from pathlib import Path
from infra.storage import growing
from infra.storage.stage_dir import StageDir
from pipeline.flow import run_editions
from worlds import job

config, uri, stage, version = sys.argv[1:]
growing.PUSH_S = 0.05
run, now = job(Path(config), uri), []
object.__setattr__(run, "begin", lambda *begun: now.append(begun))
finish = StageDir.write_json

def deadly(self, name, value):
    if now[-1] == (stage, version):
        store = run.workspace.bucket.store
        while not any("/files/" in key for key in store.keys(f"unfinished/{stage}/{version}")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    finish(self, name, value)

StageDir.write_json = deadly
run_editions(run)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture()
def uri(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return new_bucket(endpoint, monkeypatch)


def ids(uri: str) -> dict[str, str]:
    """Version -> release id."""
    return {row["version"]: row["release_id"] for row in releases(Workspace.at(uri))}


def move_to(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on as on a machine that has nothing of the bucket yet."""
    monkeypatch.setenv("CORRIGENDA_CACHE", str(machine))


def test_a_second_machine_finds_everything_done(
    uri: str,
    world: Callable[..., Path],
    released: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The releases of a bucket are those of a directory. Another machine makes nothing, reads the
    same state, and has the same model; `run`, `ask` and `rollback` take the bucket too."""
    expected = ids(str(released[1]))
    config = world()
    move_to(tmp_path / "one", monkeypatch)
    run_editions(job(config, uri))
    assert ids(uri) == expected and len(expected) == 2
    store = ObjectStore(uri)
    assert store.keys("unfinished") == []
    before = {key: store.read(key) for key in store.keys("") if not key.startswith("leases/")}

    move_to(tmp_path / "two", monkeypatch)
    made: list[bool] = []
    run_editions(job(config, uri, end=lambda a: made.append(a.made_now)))
    assert made == [False] * 18 and ids(uri) == expected
    after = {key: store.read(key) for key in store.keys("") if not key.startswith("leases/")}
    assert after == before

    move_to(tmp_path / "three", monkeypatch)
    place = Workspace.at(uri)
    states = status(place)
    assert states["production"] == {"tiny": VERSIONS[1]}
    assert {state for stages in states["versions"].values() for state in stages.values()} == {
        "done"
    }
    assert not list(place.root.rglob("*.safetensors")), "looking downloads no weights"
    assert ledger.read(place.root).num_rows == sum(
        pq.read_metadata(path).num_rows for path in (released[1] / "ledger").iterdir()
    )
    there, here = (w.find("release", VERSIONS[1]) for w in (place, Workspace(released[1])))
    assert there and here
    there.require_whole(thorough=True)
    weights = "checkpoint/model.safetensors"
    assert (there.path / weights).read_bytes() == (here.path / weights).read_bytes()

    def told(*words: object) -> Any:
        move_to(tmp_path / str(words[0]), monkeypatch)
        return corrigenda(*words, "--workspace", uri)

    ran = told("run", "--config", config, "--ray-address", "none")
    assert [edition["version"] for edition in ran["editions"]] == list(VERSIONS)
    assert told("ask", "The Navy is in")[0]["release"] == VERSIONS[1]
    assert told("rollback") == {"from": VERSIONS[1], "to": VERSIONS[0]}
    assert status(Workspace.at(uri))["production"] == {"tiny": VERSIONS[0]}


def test_killed_on_one_machine_a_run_goes_on_on_another(
    uri: str,
    world: Callable[..., Path],
    released: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGKILL in the probe of the first edition, then, elsewhere, in the edit of the second: the
    third machine, as soon as the lease has ended, comes to the same releases."""
    config = world()
    here = Path(__file__).parents[1]
    paths = os.pathsep.join([str(here.parent), str(here)])
    for machine, stage, version in (("a", "probe", VERSIONS[0]), ("b", "evaluate", VERSIONS[1])):
        move_to(tmp_path / machine, monkeypatch)
        command = [sys.executable, "-c", KILLED, str(config), uri, stage, version]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, timeout=120)
        assert done.returncode == -signal.SIGKILL
        assert ObjectStore(uri).keys(f"unfinished/{stage}/{version}")
        ObjectStore(uri).delete(["leases/tiny.json"])  # instead of a wait until it has ended
    move_to(tmp_path / "c", monkeypatch)
    run_editions(job(config, uri))
    assert ids(uri) == ids(str(released[1]))
