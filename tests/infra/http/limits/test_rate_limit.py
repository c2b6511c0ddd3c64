"""One rate_limit for a host: never two requests at a time, starts an interval apart, in threads and
on a real Ray; a dead worker's permit lapses.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import QuietHandler, on_loopback

from infra.execution.runner import InProcessRunner, Resources, Runner
from infra.http.client import PoliteClient
from infra.http.limits.rate_limit import HostTurns, LocalRateLimit, Permit, RateLimit

INTERVAL_S = 0.1


class Diary:
    """A real server that notes when each request came and was answered; an answer takes a while."""

    def __init__(self, takes_s: float = 0.03) -> None:
        self.spans: list[tuple[float, float]] = []
        diary = self

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                came = time.monotonic()
                time.sleep(takes_s)
                diary.spans.append((came, time.monotonic()))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        self.server = on_loopback(Handler)

    def __enter__(self) -> str:
        return self.server.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self.server.__exit__(*exc)


def assert_polite(spans: list[tuple[float, float]], num: int, began: float) -> None:
    """All `num` requests came, none overlapped, and the k-th no sooner than k intervals after the
    beginning, which holds however late each is on its way to the server.
    """
    spans = sorted(spans)
    assert len(spans) == num
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(spans))
    assert all(came >= began + k * INTERVAL_S for k, (came, _) in enumerate(spans))


def client(rate_limit: RateLimit) -> PoliteClient:
    return PoliteClient(
        source="s", contact="a@b.org", rate_limit=rate_limit, min_interval_s=INTERVAL_S
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "return", "pause", "wait"]),
            st.sampled_from(["a.org", "b.org"]),
            st.integers(0, 30),
        ),
        max_size=60,
    )
)
def test_no_order_of_calls_breaks_the_rule(calls: list[tuple[str, str, int]]) -> None:
    """Whatever is asked, returned and paused: a turn is given only when a plain list of all turns
    and pauses says that it may be, and refused only with a wait that is not over.
    """
    ledger, now, lease = HostTurns(), 0.0, 25.0
    turns: list[tuple[Permit, float, int]] = []  # permit, start, interval
    given_back: set[Permit] = set()
    pauses: list[tuple[str, float]] = []
    for what, host, n in calls:
        if what == "wait":
            now += n
        elif what == "pause":
            ledger.pause(host, n, now)
            pauses.append((host, now + n))
        elif what == "return":
            for permit, _, _ in turns:
                if permit.host == host:
                    ledger.give_back(permit)
                    given_back.add(permit)
        else:
            answer = ledger.ask(host, n, lease, now)
            mine = [turn for turn in turns if turn[0].host == host]
            busy = any(p not in given_back and start + lease > now for p, start, _ in mine)
            early = any(start + max(interval, n) > now for _, start, interval in mine[-1:])
            paused = any(h == host and until > now for h, until in pauses)
            assert isinstance(answer, Permit) == (not (busy or early or paused))
            if isinstance(answer, Permit):
                turns.append((answer, now, n))
            else:
                assert answer > 0


def test_threads_share_one_budget() -> None:
    """Four workers with a client each, at one server: one request at a time, an interval apart."""
    diary, rate_limit = Diary(), LocalRateLimit()

    def work(_: int) -> None:
        with client(rate_limit) as http:
            for _ in range(2):
                http.get(base)

    with diary as base, ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        list(pool.map(work, range(4)))
    assert_polite(diary.spans, 8, began)


def test_hosts_are_asked_side_by_side() -> None:
    """A host that is slow, or paused, keeps nobody from another."""
    rate_limit = LocalRateLimit()
    held = rate_limit.take("a.org", 60.0)
    rate_limit.pause("c.org", 60.0)
    began = time.monotonic()
    rate_limit.take("b.org", 60.0)
    assert time.monotonic() - began < 1.0
    rate_limit.give_back(held)


def test_a_copy_would_be_a_second_budget() -> None:
    """The rate_limit of a process does not travel: whoever tries finds out at once."""
    with pytest.raises(TypeError):
        pickle.dumps(LocalRateLimit())


def test_a_runner_has_one_budget() -> None:
    """Two stages of a run share it."""
    runner = InProcessRunner()
    assert runner.rate_limit() is runner.rate_limit()


def test_a_lapsed_permit_changes_nothing() -> None:
    """Who gives back too late does not end the turn of the next."""
    ledger = HostTurns()
    late = ledger.ask("a.org", 0.0, 10.0, 0.0)
    held = ledger.ask("a.org", 0.0, 10.0, 10.0)
    assert isinstance(late, Permit) and isinstance(held, Permit)
    ledger.give_back(late)
    assert not isinstance(ledger.ask("a.org", 0.0, 10.0, 11.0), Permit)
    ledger.give_back(held)
    assert isinstance(ledger.ask("a.org", 0.0, 10.0, 11.0), Permit)


def test_a_state_that_was_lost_is_made_up_for() -> None:
    """What begins anew waits for an interval, and takes no permit of before for its own."""
    before = HostTurns().ask("a.org", 5.0, 60.0, 100.0)
    anew = HostTurns(after_s=103.0, last_number=1000)
    assert isinstance(before, Permit)
    assert anew.ask("a.org", 5.0, 60.0, 103.0) == 5.0
    held = anew.ask("a.org", 5.0, 60.0, 108.0)
    assert isinstance(held, Permit)
    anew.give_back(before)
    assert not isinstance(anew.ask("a.org", 0.0, 60.0, 120.0), Permit)


# On a real Ray


@pytest.fixture(scope="module")
def ray_runner() -> Iterator[Runner]:
    """A local Ray, to which this module's functions travel by value: workers cannot import it."""
    from ray import cloudpickle

    from infra.execution.ray_runner import runner_at

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with runner_at("local") as runner:
        yield runner


class Fetcher:
    """Builds a worker that asks one address through the shared rate_limit and says who it is."""

    def __init__(self, rate_limit: RateLimit, base: str) -> None:
        self.rate_limit, self.base = rate_limit, base

    def __call__(self) -> Callable[[int], int]:
        http = client(self.rate_limit)

        def run(_: int) -> int:
            http.get(self.base)
            return os.getpid()

        return run


class DiesInTurn:
    """Builds a worker whose process dies in its turn, the first time."""

    def __init__(self, rate_limit: RateLimit, path: Path) -> None:
        self.rate_limit, self.path = rate_limit, path

    def __call__(self) -> Callable[[int], float]:
        def run(_: int) -> float:
            began = time.monotonic()
            permit = self.rate_limit.take("a.org", 0.0, 2.0)
            if not self.path.exists():
                self.path.touch()
                os.kill(os.getpid(), 9)
            self.rate_limit.give_back(permit)
            return time.monotonic() - began

        return run


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_processes_share_one_budget(ray_runner: Runner) -> None:
    """Two processes at one server: one request at a time, an interval apart."""
    diary = Diary()
    with diary as base:
        made = Fetcher(ray_runner.rate_limit(), base)
        shards, two = list(range(16)), Resources(max_workers=2)
        began = time.monotonic()
        workers = list(ray_runner.map(made, shards, resources=two))
    assert len(set(workers)) == 2
    assert_polite(diary.spans, 16, began)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_dead_workers_permit_lapses(ray_runner: Runner, tmp_path: Path) -> None:
    """kill -9 in a turn: the next one waits for the lease, and no longer."""
    made = DiesInTurn(ray_runner.rate_limit(), tmp_path / "died")
    began = time.monotonic()
    list(ray_runner.map(made, [0], resources=Resources(max_workers=1)))
    assert (tmp_path / "died").exists()
    assert time.monotonic() - began >= 2.0
    permit = ray_runner.rate_limit().take("a.org", 0.0, 60.0)
    ray_runner.rate_limit().give_back(permit)
    assert time.monotonic() - began < 40.0
