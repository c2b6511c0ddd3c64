"""A clock that is set back by a day or forward by ten years: nothing waits for it, and nothing is
taken for valid or for newer by its time alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.files.atomic import remove_leftovers
from infra.http.limits.rate_limit import LocalRateLimit
from infra.http.limits.robots import Robots
from infra.storage.workspace import Workspace
from infra.telemetry.waits import Waits, read_waits
from pipeline.release.alias import Alias

DAY_S, YEAR_S = 86400.0, 365 * 86400.0
JUMPS = (-DAY_S, 10 * YEAR_S)


class Clock:
    """The time of day, ahead of the real one by some seconds."""

    def __init__(self) -> None:
        self.real, self.ahead_s = time.time, 0.0

    def __call__(self) -> float:
        return self.real() + self.ahead_s


@pytest.fixture()
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """What `time.time` says from now on."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    yield clock


@pytest.mark.parametrize("jump", JUMPS)
def test_a_rate_limit_does_not_wait_for_the_clock(jump: float, clock: Clock) -> None:
    """The pause of a host and the interval between requests last as long as they should."""
    limit, started = LocalRateLimit(), time.monotonic()
    limit.give_back(limit.take("a.org", 0.05))
    limit.pause("a.org", 0.1)
    clock.ahead_s = jump
    limit.give_back(limit.take("a.org", 0.05))
    assert 0.1 <= time.monotonic() - started < 5


@pytest.mark.parametrize("jump", JUMPS)
def test_stored_rules_are_asked_for_again(jump: float, clock: Clock, tmp_path: Path) -> None:
    """Rules of another time, the future included, are not valid; the new ones are."""
    asked: list[str] = []

    def fetch(url: str) -> tuple[int, bytes]:
        asked.append(url)
        return 200, b"User-agent: *\nDisallow: /x"

    for ahead_s, times in ((0.0, 1), (0.0, 1), (jump, 2), (jump, 2)):
        clock.ahead_s = ahead_s
        Robots(tmp_path, clock).of("https://a.org/y", fetch)
        assert len(asked) == times


@pytest.mark.parametrize("jump", JUMPS)
def test_a_wait_is_told_for_as_long_as_it_lasts(jump: float, clock: Clock, tmp_path: Path) -> None:
    """Its file goes with it, whatever the clock says."""
    with Waits(tmp_path).told("a.org", 60.0):
        assert len(read_waits(tmp_path, time.time())) == 1
        clock.ahead_s = jump
    assert not list(tmp_path.iterdir()) and not read_waits(tmp_path, time.time())


def test_the_log_of_production_has_no_clock(clock: Clock, tmp_path: Path) -> None:
    """Its order is that of its numbers."""
    alias = Alias(Workspace(tmp_path), "line")
    for number, ahead_s in enumerate((0.0, *JUMPS, -DAY_S)):
        clock.ahead_s = ahead_s
        alias.move(f"v{number}", "passed")
        assert alias.current() == f"v{number}"
    assert [move.version for move in alias.history()] == ["v0", "v1", "v2", "v3"]


def test_what_is_being_written_stays_where_the_clock_is_set_back(
    clock: Clock, tmp_path: Path
) -> None:
    """A temporary file of the future may have a writer."""
    (tmp_path / ".x.tmp").touch()
    clock.ahead_s = -DAY_S
    remove_leftovers(tmp_path)
    assert (tmp_path / ".x.tmp").exists()
