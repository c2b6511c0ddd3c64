"""A workspace in object storage, worked on from several copies, as several machines have them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from s3_server import new_bucket, serving

from infra.errors import StageError
from infra.execution.runner import InProcessRunner
from infra.files.atomic import write_text
from infra.storage import growing
from infra.storage.lease import Lease
from infra.storage.stage_dir import Shard, StageDir
from infra.storage.workspace import Workspace
from pipeline.release.alias import Alias

Copies = Callable[[str], Workspace]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture()
def copy(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copies:
    """Opens the workspace of one bucket on the machine of a name."""
    uri = new_bucket(endpoint, monkeypatch)

    def opened(machine: str) -> Workspace:
        monkeypatch.setenv("CORRIGENDA_CACHE", str(tmp_path / machine))
        return Workspace.at(uri)

    return opened


def make(workspace: Workspace, value: Any = 1, **more: Any) -> Any:
    def body(out: StageDir) -> dict[str, int]:
        out.write_json("value.json", value)
        out.write_json("other/value.json", 2)
        return {"values": 2}

    body = more.pop("body", body)
    return workspace.run_stage("s", "v", code=1, made_from={"value": value}, body=body, **more)


def not_called(out: StageDir) -> dict[str, int]:
    raise AssertionError("made a second time")


def test_an_output_is_found_on_another_machine(copy: Copies) -> None:
    """It is not made again; a file comes when it is read, all of them with the directory."""
    made = make(copy("one"))
    there = copy("two")
    assert there.versions("s") == ["v"]
    found = make(there, body=not_called)
    assert found.digest == made.digest and not found.made_now
    assert found.json("value.json") == 1
    assert not (found.directory / "other").exists()
    assert (pickle.loads(pickle.dumps(found)).path / "other/value.json").read_text() == "2\n"
    assert found.directory != made.directory and not made.record.get("epoch")


def test_a_copy_mends_itself_and_the_bucket_is_checked(copy: Copies) -> None:
    """A damaged or deleted file of the copy is downloaded again; a damaged object is an error."""
    make(copy("one"))
    found = copy("two").find("s", "v")
    assert found and found.bucket
    found.file("value.json").write_text("3\n")
    assert found.json("value.json") == 1
    (found.path / "value.json").write_text("3\n")
    found.require_whole()
    assert found.json("value.json") == 1
    shutil.rmtree(found.directory)
    assert copy("two").find("s", "v") == found
    for key in found.bucket.store.keys("objects"):
        found.bucket.store.put(key, b"4\n")
    with pytest.raises(StageError, match=r"objects/.* is altered, the content of .*value\.json"):
        found.json("value.json")


def test_a_copy_follows_the_bucket(copy: Copies) -> None:
    """What another machine has replaced, or a person has removed, is gone from the copy."""
    first = make(copy("one"))
    assert first.json("value.json") == 1
    assert make(copy("two"), 5, replace=True).json("value.json") == 5
    found = copy("one").find("s", "v")
    assert found and found.json("value.json") == 5
    assert found.bucket
    found.bucket.store.delete(["s/v/record.json"])
    assert copy("one").find("s", "v") is None and not found.directory.exists()


def test_of_two_machines_that_make_an_output_one_finishes_it(copy: Copies) -> None:
    """The other is told, and finds the output of the first when it runs again."""
    one, two = copy("one"), copy("two")

    def slow(out: StageDir) -> dict[str, int]:
        make(two)
        out.write_json("value.json", "late")
        return {}

    with pytest.raises(StageError, match=r"s v: another process has finished it in s3://"):
        make(one, body=slow)
    assert make(one, body=not_called).json("value.json") == 1


def test_shards_go_on_on_another_machine(copy: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished when a run broke off is not made again; when the output is finished, none
    of it is left in the bucket."""
    monkeypatch.setattr(growing, "PUSH_S", 0.02)
    ran: list[int] = []

    def body(stop: int | None) -> Callable[[StageDir], dict[str, int]]:
        def worker(number: int) -> pa.Table:
            if number == stop:
                raise KeyboardInterrupt
            ran.append(number)
            return pa.table({"n": [number]})

        def run(out: StageDir) -> dict[str, int]:
            out.write_text("made/first.txt", "first")
            shards = [Shard(f"s{n}", n) for n in range(4)]
            made = out.map_tables(InProcessRunner(), lambda: worker, shards)
            out.write_json("value.json", len(made))
            return {}

        return run

    one = copy("one")
    for stop in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            make(copy("one" if stop == 2 else "two"), body=body(stop))
    finished = make(copy("three"), body=body(None))
    assert ran == [0, 1, 2, 3] and finished.record["files"].keys() == {
        "value.json",
        "made/first.txt",
    }
    assert one.bucket and one.bucket.store.keys("unfinished") == []


def test_a_file_that_a_stage_removes_does_not_come_back(copy: Copies, tmp_path: Path) -> None:
    """A growing directory and its folder are the same again after each push; pulled exactly, files
    of an older state are removed."""
    bucket = copy("one").bucket
    assert bucket
    here, there = tmp_path / "here", tmp_path / "there"
    ours = growing.GrowingCopy(bucket.contents, here, "cache/x")
    for name in ("a", "deep/b", ".hidden", "progress.json"):
        write_text(here / name, name)
    ours.push()
    theirs = growing.GrowingCopy(bucket.contents, there, "cache/x")
    theirs.pull()
    assert {p.relative_to(there).as_posix() for p in there.rglob("*") if p.is_file()} == {
        "a",
        "deep/b",
    }
    (here / "a").unlink()
    write_text(here / "deep/b", "other")
    ours.push()
    theirs.pull(exactly=True)
    assert not (there / "a").exists() and (there / "deep/b").read_text() == "other"


def test_a_second_driver_is_refused(copy: Copies) -> None:
    """On another machine by the lease, on this one by the lock; afterwards the line is free."""
    with copy("one").sole_run("mine"):
        refused = pytest.raises(StageError, match=r"process \d+ on .* holds its lease until")
        with refused, copy("two").sole_run("mine"):
            pass
        with copy("two").sole_run("yours"):
            pass
    with copy("two").sole_run("mine"):
        assert make(copy("three")).counts == {"values": 2}


def test_a_commit_with_an_old_epoch_fails(copy: Copies) -> None:
    """The output of a run that has lost its line is no output; the one of the new holder is, and
    its record has the epoch."""
    one, two = copy("one"), copy("two")
    assert one.bucket and two.bucket
    with one.sole_run("mine"):
        held = Lease(one.bucket.store, "mine", copy=one.bucket.copy_id)  # as after an expiry
        with held.held():
            with pytest.raises(StageError, match=r"\(epoch 1\) had ended, .*\(epoch 2\)"):
                make(one)
            assert two.bucket.store.read("s/v/record.json") is None
    with two.sole_run("mine"):
        assert make(two).record["epoch"] == 3


def test_what_editing_keeps_is_there_on_another_machine(copy: Copies) -> None:
    """Files of the values and of the capacity; statistics and pages are found anew."""
    one, two = copy("one"), copy("two")
    with one.sole_run("mine"):
        for name in ("values/a.safetensors", "capacity/b.json", "http/c"):
            write_text(one.root / "cache" / name, name)
    with two.sole_run("mine"):
        assert (two.root / "cache/values/a.safetensors").read_text() == "values/a.safetensors"
        assert (two.root / "cache/capacity/b.json").is_file()
        assert not (two.root / "cache/http").exists()


def test_production_is_moved_by_compare_and_swap(copy: Copies) -> None:
    """Of two movers on two machines that began with the same release, one lands; a third machine
    reads the log as it is, and entries that the bucket has lost are gone from an old copy."""
    one, two = Alias(copy("one"), "line"), Alias(copy("two"), "line")
    assert one.move("v1", "first").seq == 1
    assert two.move("v2", "sees v1").seq == 2
    assert one.move_from("v1", "v3", "is late") is None
    assert one.current() == "v2" and Alias(copy("three"), "line").current() == "v2"
    bucket = one.workspace.bucket
    assert bucket
    last = one.directory / "00000002.json"
    bucket.store.delete(["aliases/line/production/00000002.json"])
    bucket.store.put("aliases/line/production/head.json", json.dumps({"seq": 1}).encode())
    old = time.time() - 1000
    os.utime(last, (old, old))
    assert Alias(copy("one"), "line").current() == "v1"
