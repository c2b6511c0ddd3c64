"""One process makes a line's editions; a dead one keeps nobody waiting for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from s3_server import new_bucket, serving

from infra.errors import StageError
from infra.storage.lease import Lease
from infra.storage.object_store import ObjectStore

HOLD = """
import sys, time
from infra.storage.lease import Lease
from infra.storage.object_store import ObjectStore
uri, copy, seconds = sys.argv[1:]
with Lease(ObjectStore(uri), "mine", copy=copy, seconds=float(seconds)).held() as lease:
    print(lease.epoch, flush=True)
    sys.stdin.readline()
    lease.confirm()
    print("committed", flush=True)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture()
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    return ObjectStore(new_bucket(endpoint, monkeypatch))


@pytest.fixture()
def other(store: ObjectStore) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease, for two seconds at a time, until a line is typed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, store.uri, "there", "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout and process.stdout.readline() == "1\n"
        yield process
        process.kill()


def here(store: ObjectStore, copy: str = "here") -> Lease:
    return Lease(store, "mine", copy=copy, seconds=2)


def test_a_second_driver_is_told_who_holds_the_line_and_until_when(
    store: ObjectStore, other: subprocess.Popen[str]
) -> None:
    """Also after longer than a lease lasts, for it is renewed; another line is free, and the line
    is as soon as the first has ended."""
    time.sleep(2.2)
    with pytest.raises(StageError, match=rf"process {other.pid} on .* until 20\d\d-.*Wait until"):
        here(store)._take()
    with Lease(store, "yours", copy="here").held() as lease:
        assert lease.epoch == 1
    said, _ = other.communicate("\n")
    assert said == "committed\n"
    with here(store).held() as lease:
        assert lease.epoch == 2


def test_a_killed_holder_leaves_a_lease_that_ends(
    store: ObjectStore, other: subprocess.Popen[str]
) -> None:
    """Refused at first, then taken with the next epoch."""
    other.kill()
    other.wait()
    with pytest.raises(StageError, match=r"ends then by itself"):
        here(store)._take()
    time.sleep(2.1)
    with here(store).held() as lease:
        assert lease.epoch == 2


def test_the_same_copy_goes_on_at_once(store: ObjectStore, other: subprocess.Popen[str]) -> None:
    """Whoever has the lock of a copy knows that the holder that worked on it has died."""
    other.kill()
    other.wait()
    with here(store, "there").held() as lease:
        assert lease.epoch == 2


def test_a_commit_of_an_old_epoch_fails(store: ObjectStore, other: subprocess.Popen[str]) -> None:
    """A process that was stopped for longer than its lease, and goes on, commits nothing, and does
    not end the lease of the one that has the line now."""
    os.kill(other.pid, signal.SIGSTOP)
    time.sleep(2.1)
    with here(store).held() as lease:
        os.kill(other.pid, signal.SIGCONT)
        said, error = other.communicate("\n")
        assert "committed" not in said and other.returncode != 0
        assert "lease of this run (epoch 1) had ended" in error and "(epoch 2)" in error
        lease.confirm()


def test_a_lease_that_ended_while_nobody_wanted_it_is_renewed(store: ObjectStore) -> None:
    """A pause, such as a sleeping laptop, ends no run that stayed alone."""
    lease = Lease(store, "mine", copy="here", seconds=0.01)
    lease._take()
    time.sleep(0.05)
    lease.confirm()
    assert lease.epoch == 1
