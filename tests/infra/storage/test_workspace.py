"""Outputs are whole or absent, made once, and mean one thing for ever."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from full_disk import no_room

from infra.errors import ConfigError, StageError
from infra.execution.runner import InProcessRunner
from infra.files.atomic import put_if_absent, write_json
from infra.files.digest import content_digest
from infra.storage.integrity import BYTES, RECORD, RECORD_DIGEST
from infra.storage.stage_dir import Shard, StageDir
from infra.storage.workspace import Workspace


def make(workspace: Workspace, config: Any = 1, **more: Any) -> Any:
    def body(out: StageDir) -> dict[str, int]:
        out.write_json("value.json", config)
        return {"value": 1}

    return workspace.run_stage("s", "v", code=1, made_from={"config": config}, body=body, **more)


def test_same_fingerprint_is_made_once(tmp_path: Path) -> None:
    """The second call returns the first output without running the body."""
    workspace = Workspace.at(str(tmp_path))
    first = make(workspace)
    stamp = (first.path / "record.json").stat().st_mtime_ns
    assert make(workspace).digest == first.digest
    assert (first.path / "record.json").stat().st_mtime_ns == stamp


def test_other_settings_under_an_old_version_are_refused_by_name(tmp_path: Path) -> None:
    """The message says which setting differs; --replace discards, and only then."""
    workspace = Workspace.at(str(tmp_path))
    make(workspace, {"margin": 1})
    with pytest.raises(StageError, match=r"config\.margin: 1 -> 2.*--replace"):
        make(workspace, {"margin": 2})
    assert make(workspace, {"margin": 2}, replace=True).json("value.json") == {"margin": 2}


def test_shards_that_are_made_as_they_are_taken(tmp_path: Path) -> None:
    """None is made before the last is written, finished ones are passed over, and all are counted
    in order."""
    out, runner = StageDir(tmp_path), InProcessRunner()
    alive: list[int] = []
    done: list[str] = []

    def shards(count: int, written: int = 0) -> Any:
        for n in range(count):
            assert len(list(tmp_path.glob("shards/*"))) == max(n, written)
            yield Shard(f"s{n}", n)

    def worker(n: int) -> pa.Table:
        alive.append(n)
        return pa.table({"n": [n]})

    def run(made: Any) -> list[Path]:
        return out.map_tables(runner, lambda: worker, made, on_done=lambda s: done.append(s.id))

    run(shards(3))
    paths = run(shards(5, written=3))
    assert alive == [0, 1, 2, 3, 4]
    assert done == ["s0", "s1", "s2", "s0", "s1", "s2", "s3", "s4"]
    assert [pq.read_table(path)["n"].to_pylist() for path in paths] == [[n] for n in range(5)]


def test_a_failing_body_leaves_no_output_and_keeps_finished_shards(tmp_path: Path) -> None:
    """After an interruption only what was missing runs again."""
    workspace = Workspace.at(str(tmp_path))
    ran: list[int] = []

    def body(fail_at: int) -> Any:
        def worker(payload: int) -> pa.Table:
            if payload == fail_at:
                raise RuntimeError("fault")
            ran.append(payload)
            return pa.table({"x": [payload]})

        def run(out: StageDir) -> dict[str, int]:
            paths = out.map_tables(
                InProcessRunner(), lambda: worker, [Shard(str(i), i) for i in range(4)]
            )
            out.write_table("all.parquet", pa.concat_tables(map(pq.read_table, paths)))
            return {}

        return run

    common: dict[str, Any] = {"code": 1, "made_from": {}}
    with pytest.raises(RuntimeError):
        workspace.run_stage("s", "v", body=body(fail_at=2), **common)
    assert workspace.find("s", "v") is None
    artifact = workspace.run_stage("s", "v", body=body(fail_at=-1), **common)
    assert ran == [0, 1, 2, 3]
    assert artifact.table("all.parquet")["x"].to_pylist() == [0, 1, 2, 3]
    assert sorted(p.name for p in artifact.path.iterdir()) == ["all.parquet", "record.json"]


def test_reused_files_are_not_read_again(tmp_path: Path) -> None:
    """A file taken over from a finished output is the same file, and its digest in the record is
    the one that reading it would give."""
    workspace = Workspace.at(str(tmp_path))
    common: dict[str, Any] = {"code": 1, "made_from": {}}

    def first(out: StageDir) -> dict[str, int]:
        out.write_table("x.parquet", pa.table({"x": [1, None]}))
        return {}

    old = workspace.run_stage("s", "old", body=first, **common)

    def second(out: StageDir) -> dict[str, int]:
        out.reuse(old.path, "x.parquet", digest=old.record["files"]["x.parquet"])
        return {}

    new = workspace.run_stage("s", "new", body=second, **common)
    assert new.record["files"] == {"x.parquet": content_digest(new.path / "x.parquet")}
    assert (new.path / "x.parquet").samefile(old.path / "x.parquet")


def test_put_if_absent_has_one_winner(tmp_path: Path) -> None:
    """The first content stays."""
    path = tmp_path / "a" / "1.json"
    assert put_if_absent(path, "first")
    assert not put_if_absent(path, "second")
    assert path.read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["1.json"]


def test_a_full_disk_is_one_line_and_nothing_is_half_written(tmp_path: Path) -> None:
    """A real failing write (file size limit of the process) ends as StageError, without output."""
    workspace = Workspace.at(str(tmp_path))
    with no_room(), pytest.raises(StageError, match=r"cannot write .*run the same command again"):
        make(workspace, "x" * 10_000)
    assert workspace.find("s", "v") is None
    assert not list(tmp_path.rglob("value.json"))
    assert make(workspace, "x" * 10_000).counts == {"value": 1}


def test_a_file_that_cannot_be_read_is_not_called_one_that_cannot_be_written(
    tmp_path: Path,
) -> None:
    """The line names the file, and says `write` alone only where the system said so."""

    def body(out: StageDir) -> dict[str, int]:
        (tmp_path / "source.csv").read_bytes()
        return {}

    with pytest.raises(StageError, match=r"s v: cannot read or write .*source\.csv: No such file"):
        Workspace.at(str(tmp_path)).run_stage("s", "v", code=1, made_from={}, body=body)


def test_other_schemes_are_refused() -> None:
    """An object store is not silently taken for a directory."""
    with pytest.raises(ConfigError, match="scheme 'gs' is not supported"):
        Workspace.at("gs://bucket/x")


def test_one_process_makes_an_output(tmp_path: Path) -> None:
    """While it is being made nobody else may begin; when its maker has given up, or died, the next
    one does, and no lock is left."""
    workspace = Workspace.at(str(tmp_path))

    def made(body: Callable[[StageDir], dict[str, int]]) -> Any:
        return workspace.run_stage("crawl", "1", code=1, made_from={}, body=body)

    def meanwhile(out: StageDir) -> dict[str, int]:
        with pytest.raises(StageError, match="crawl 1: another process is making it") as caught:
            made(lambda out: {})
        assert "\n" not in str(caught.value)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(meanwhile)
    lock = tmp_path / "crawl" / ".1.lock"
    assert not lock.exists()
    command = (
        "import os, sys; from pathlib import Path; from infra.files.atomic import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", command, str(lock)], cwd=Path(__file__).parents[3])
    assert lock.exists()
    assert made(lambda out: {"n": 1}).counts == {"n": 1}
    assert not lock.exists()


def test_an_output_of_an_earlier_version_is_read_and_not_made_again(tmp_path: Path) -> None:
    """Its fingerprint is of another form: whoever asks for it again is told what to do, and it is
    still there to be read."""
    workspace = Workspace.at(str(tmp_path))
    made = make(workspace)
    old = {**made.record, "schema": 1, "fingerprint": "of another form"}
    del old[BYTES], old[RECORD_DIGEST]
    write_json(made.path / RECORD, old)
    with pytest.raises(StageError, match=r"earlier version of Corrigenda.*go on with a later one"):
        make(workspace)
    found = workspace.find("s", "v")
    assert found is not None and found.json("value.json") == 1


def test_a_phase_tells_its_finished_shards(tmp_path: Path) -> None:
    """From the first to the last, those of an earlier run counted as found; of an iterator, whose
    length nobody knows, nothing is told."""
    told: list[tuple[int, int]] = []

    class Watched(StageDir):
        def progress(self, done: int, total: int, text: str = "", **figures: float) -> None:
            told.append((done, total))

    out = Watched(tmp_path)
    shards = [Shard(f"s-{n}", n) for n in range(3)]
    out.map_tables(InProcessRunner(), one_row, shards[:1])
    assert told == []
    out.map_tables(InProcessRunner(), one_row, shards, phase="fetch")
    assert told == [(1, 3), (2, 3), (3, 3)]
    out.map_tables(InProcessRunner(), one_row, iter(shards), phase="fetch")
    assert len(told) == 3


def one_row() -> Callable[[int], pa.Table]:
    return lambda number: pa.table({"x": [number]})
