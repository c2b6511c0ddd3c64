"""The adapter of object storage, against a server on the loopback."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import new_bucket, serving

from infra.errors import ConfigError, StageError
from infra.storage.object_store import ObjectStore


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture()
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    return ObjectStore(new_bucket(endpoint, monkeypatch))


def test_an_object_is_created_once_and_replaced_only_where_it_is_known(store: ObjectStore) -> None:
    """The first creation wins; a replacement needs the tag of what is there now."""
    assert store.read("a/b") is None and store.put_if_match("a/b", b"0", '"x"') is None
    first = store.put_if_absent("a/b", b"1")
    assert first and store.put_if_absent("a/b", b"2") is None
    second = store.put_if_match("a/b", b"3", first)
    assert second and second != first and store.put_if_match("a/b", b"4", first) is None
    found = store.read("a/b")
    assert found and (found.data, found.tag) == (b"3", second)


def test_an_answer_that_was_lost_is_found_by_reading(store: ObjectStore) -> None:
    """The same bytes again count as written, under either condition."""
    tag = store.put_if_absent("a", b"mine")
    assert tag and store.put_if_absent("a", b"mine") == tag
    new = store.put_if_match("a", b"next", tag)
    assert new and store.put_if_match("a", b"next", tag) == new


def test_of_two_processes_one_creates_an_object(store: ObjectStore) -> None:
    """Ten keys, two processes that want all of them: each key has one creator."""
    code = (
        "import sys; from infra.storage.object_store import ObjectStore\n"
        "store, me = ObjectStore(sys.argv[1]), sys.argv[2].encode()\n"
        "print(*[int(store.put_if_absent(str(n), me) is not None) for n in range(10)])"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, store.uri, name],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        for name in ("one", "two")
    ]
    won = [list(map(int, process.communicate()[0].split())) for process in started]
    assert [a + b for a, b in zip(*won, strict=True)] == [1] * 10


def test_files_go_up_and_down_whole(store: ObjectStore, tmp_path: Path) -> None:
    """Empty, small, and larger than one part; names with what an address escapes."""
    key = "objects/50% of ü"
    for size in (0, 1, (11 << 20) + 3):
        (tmp_path / "up").write_bytes(os.urandom(size))
        store.upload(tmp_path / "up", key)
        assert store.size(key) == size and store.download(key, tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == (tmp_path / "up").read_bytes()
        assert store.keys("objects") == [key]
    assert store.folders() == ["objects"]
    store.delete(store.keys("objects"))
    assert store.keys("objects") == [] and store.size(key) is None
    assert not store.download(key, tmp_path / "down")


def test_a_store_is_the_same_in_another_process(store: ObjectStore) -> None:
    """It travels as its address."""
    store.put("a", b"1")
    there = pickle.loads(pickle.dumps(store)).read("a")
    assert there and there.data == b"1"


def test_what_cannot_be_reached_is_one_line(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such bucket, nobody there, no address of a bucket."""
    with pytest.raises(StageError, match=r"s3://none-such: there is no such bucket"):
        ObjectStore("s3://none-such").read("a")
    with pytest.raises(StageError, match=r"s3://none-such: there is no such bucket"):
        ObjectStore("s3://none-such").put_if_absent("a", b"1")
    for wrong in ("s3://", "s3:///a", "gs://a/b", "s3://me:word@bucket/a"):
        with pytest.raises(ConfigError, match=r"give s3://BUCKET/PREFIX"):
            ObjectStore(wrong)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StageError, match=r"cannot read a .*AWS_ENDPOINT_URL") as error:
        ObjectStore(store.uri).read("a")
    assert "\n" not in str(error.value)


def test_a_store_has_to_honour_conditions(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does is accepted and left as it was; one that writes all the same is refused."""
    store.require_conditions()
    assert store.keys("leases") == []
    put = ObjectStore._put_if
    monkeypatch.setattr(ObjectStore, "_put_if", lambda s, k, d, mode: put(s, k, d, "overwrite"))
    with pytest.raises(StageError, match=r"conditional writes, or a directory"):
        store.require_conditions()
