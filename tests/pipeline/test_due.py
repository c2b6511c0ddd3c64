"""Which editions a run makes: those of its config, or those that are due."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from worlds import job

from infra.errors import ConfigError, StageError
from infra.files.atomic import write_text
from infra.storage.workspace import Workspace
from pipeline.config import Config, load_config
from pipeline.due import MAX_MADE_UP, due_editions, job_day
from pipeline.flow import run_editions
from pipeline.schedule import ScheduleConfig

DAILY = ScheduleConfig(cron="0 3 * * *")
AGAIN = DAILY.model_copy(update={"missed": "make_up"})
NOW = datetime(2021, 7, 3, 10, tzinfo=UTC)
"""Three days after the last release of the small world."""


@pytest.fixture()
def settings(released: tuple[Path, Path]) -> Config:
    """The config of the small world, whose line has releases of 2016-06-30 and 2021-06-30."""
    return load_config(released[0])


@pytest.fixture()
def copied(released: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the small world's workspace."""
    return Path(shutil.copytree(released[1], tmp_path / "copied"))


def versions(config: Config, schedule: ScheduleConfig | None, place: Workspace, **more: Any) -> Any:
    """The versions of what is due."""
    given = config.model_copy(update={"schedule": schedule})
    return [e.version for e in due_editions(given, place, more.pop("now", NOW), **more).editions]


def test_without_a_schedule(settings: Config, released: tuple[Path, Path]) -> None:
    """The config's editions, or that of the day that is given."""
    place = Workspace.at(str(released[1]))
    assert versions(settings, None, place) == ["2016.06.30", "2021.06.30"]
    assert versions(settings, None, place, day=date(2021, 7, 1)) == ["2021.07.01"]


def test_missed_days(
    settings: Config, tmp_path: Path, released: tuple[Path, Path], copied: Path
) -> None:
    """They are skipped, or made up for, oldest first, up to a month; one whose edition came as far
    as a verdict was not missed."""
    place = Workspace.at(str(copied))
    assert versions(settings, DAILY, place) == ["2021.07.03"]
    assert versions(settings, AGAIN, place) == ["2021.07.01", "2021.07.02", "2021.07.03"]
    place.run_stage(
        *("gate", "2021.07.02"),
        code=1,
        made_from={},
        body=lambda out: write_text(out.path / "gate.json", "{}") or {},
    )
    assert versions(settings, AGAIN, place) == ["2021.07.01", "2021.07.03"]
    given = versions(settings, AGAIN, place, day=date(2021, 7, 2))
    assert given == ["2021.07.01", "2021.07.02"]
    later = versions(settings, AGAIN, place, now=NOW.replace(year=2022))
    assert len(later) == MAX_MADE_UP + 1 and later[-1] == "2022.07.03"
    empty = Workspace.at(str(tmp_path / "empty"))
    assert versions(settings, AGAIN, empty) == ["2021.07.03"]  # nothing was missed before the first


def test_nothing_is_due(settings: Config, released: tuple[Path, Path]) -> None:
    """Where a release of the slot's day, or of a later one, has been in production."""
    place = Workspace.at(str(released[1]))
    for now in (datetime(2021, 6, 30, 3, tzinfo=UTC), datetime(2021, 3, 1, tzinfo=UTC)):
        assert versions(settings, AGAIN, place, now=now) == []


def test_the_day_of_a_job(settings: Config) -> None:
    """It is the schedule's, however long the job waits; a config with editions keeps these."""
    assert job_day(settings, NOW) is None
    assert job_day(settings, NOW, date(2021, 7, 1)) == date(2021, 7, 1)
    raw = settings.model_dump(exclude={"editions"})
    given = Config.model_validate({**raw, "schedule": {"cron": "0 12 * * *"}})
    assert job_day(given, NOW) == date(2021, 7, 2)


def test_editions_and_a_schedule(world: Callable[..., Path]) -> None:
    """Either the config names the days or the schedule does."""
    config = world('[schedule]\ncron = "0 3 * * *"\n')
    with pytest.raises(ConfigError, match=r"Leave \[\[editions\]\] or \[schedule\] out"):
        load_config(config)


def test_a_schedule_that_overlaps_itself(released: tuple[Path, Path], copied: Path) -> None:
    """While one run makes an edition of a line, another of the same line is refused in one line;
    one of another line is not, and later ones neither."""
    place = Workspace.at(str(copied))
    run = job(released[0], copied)
    with place.sole_run("another"):
        run_editions(run, until="crawl")
    with (
        place.sole_run("tiny"),
        pytest.raises(StageError, match="line tiny: another run makes an edition") as told,
    ):
        run_editions(run, until="crawl")
    assert "\n" not in str(told.value)
    run_editions(run, until="crawl")
