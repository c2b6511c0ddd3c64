"""What a host makes us wait for is told while we wait, and bounded by settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawServer, answer

from infra.errors import HostError, RobotsError
from infra.http.client import PoliteClient
from infra.http.limits.rate_limit import LocalRateLimit
from infra.telemetry.waits import Waits, read_waits

DELAY = b"User-agent: *\nCrawl-delay: 500\n"


class Sleeper:
    """A rate limit whose sleeps take no time; keeps what was told at each."""

    def __init__(self, directory: Path) -> None:
        self.waits, self.slept, self.told = Waits(directory), 0.0, list[str]()

    def sleep(self, seconds: float) -> None:
        now_s = time.time()
        for wait in read_waits(self.waits.directory or Path(), now_s):
            assert abs(wait.until_s - now_s - seconds) < 5
            self.told.append(wait.what)
        self.slept += seconds

    def client(self, **options: Any) -> PoliteClient:
        return PoliteClient(
            source="s",
            contact="a@b.org",
            rate_limit=LocalRateLimit(lambda: self.slept, self.sleep),
            waits=self.waits,
            **{"min_interval_s": 0.0, **options},
        )


def test_a_crawl_delay_is_told_and_bounded(tmp_path: Path) -> None:
    """Each wait of 500 s says which host is asked so seldom, and nothing is told afterwards; a
    bound below the delay closes the site in one line that names the setting."""
    sleeper = Sleeper(tmp_path)
    with RawServer([answer(200, DELAY), answer(200, b"page")]) as base:
        with sleeper.client(robots=True) as http:
            assert http.get(base).body == b"page"
        host = base.removeprefix("http://")
    assert sleeper.slept == 500 and sleeper.told == [f"{host}, which is asked every 500 s"]
    assert read_waits(tmp_path, time.time()) == []
    with (
        RawServer([answer(200, DELAY)]) as base,
        sleeper.client(robots=True, max_crawl_delay_s=100) as http,
        pytest.raises(RobotsError, match=r"500 s between requests.*max_crawl_delay_s"),
    ):
        http.get(base)


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_is_told_and_bounded(status: int, tmp_path: Path) -> None:
    """Retry-After of less than `max_wait_s` is waited for, with the reason; a longer one is an
    error at once."""
    sleeper = Sleeper(tmp_path)
    busy = answer(status, b"", **{"Retry-After": "300"})
    with RawServer([busy, answer(200, b"page")]) as base, sleeper.client() as http:
        assert http.get(base).body == b"page"
    assert sleeper.slept == pytest.approx(300) and f"HTTP {status}" in sleeper.told[0]
    day = answer(status, b"", **{"Retry-After": "90000"})
    with (
        RawServer([day]) as base,
        sleeper.client() as http,
        pytest.raises(HostError, match=r"wait for 90000 s, and at most 86400 s.*max_wait_s"),
    ):
        http.get(base)
    assert sleeper.slept == pytest.approx(300)


def test_a_short_wait_is_not_told(tmp_path: Path) -> None:
    """Nor is anything told to nobody, or where it cannot be written."""
    with Waits(tmp_path).told("a", 1.0):
        assert not read_waits(tmp_path, time.time())
    with Waits(None).told("a", 100.0), Waits(tmp_path / "f" / "g").told("b", 100.0):
        assert [wait.what for wait in read_waits(tmp_path / "f" / "g", time.time())] == ["b"]
    (tmp_path / "file").write_text("")
    with Waits(tmp_path / "file").told("a", 100.0):
        pass
