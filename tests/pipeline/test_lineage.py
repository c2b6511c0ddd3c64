"""Which release an edition follows, and which snapshot its crawl continues: said by the log of
production, fixed, and found again, in whatever order looks, runs, rollbacks and lines come."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_stages import Attempts, fake, releases, run_editions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.errors import ConfigError, StageError
from infra.storage.workspace import Workspace
from pipeline.release.alias import Alias
from pipeline.release.production import releases_of, unnamed

FIRST = {"1": "2020-01-10"}
BOTH = {**FIRST, "2": "2020-01-20"}
THIRD = {"3": "2020-01-30"}
ALL = {**BOTH, **THIRD}


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that take no time."""
    fake(monkeypatch)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of two releases, below a directory for the config."""
    place = tmp_path_factory.mktemp("released")
    with pytest.MonkeyPatch.context() as patch:
        fake(patch)
        run_editions(place, "a", BOTH)
    return place


@pytest.fixture()
def root(released: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(released, tmp_path / "copy")


def alias(root: Path, line: str = "a") -> Alias:
    return Alias(Workspace(root / "workspace"), line)


def one_line(caught: pytest.ExceptionInfo[Any]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


LOST = (
    "release/2",
    "release/2/record.json",
    "snapshot/2",
    "snapshot/2/record.json",
    "plan/2",
    "probe/2",
    "aliases/a/production/00000002.json",
    "aliases/a/production",
    "aliases",
)
"""What of two releases may be deleted; the second is in production."""


@pytest.mark.parametrize("lost", LOST)
def test_a_new_edition_refuses_where_state_is_lost_and_from_goes_on(root: Path, lost: str) -> None:
    """It builds on no older release and on no release in silence; `--from` says what to build on,
    and the edition after it needs no such word."""
    path = root / "workspace" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(StageError, match="--from VERSION") as caught:
        run_editions(root, "a", THIRD)
    one_line(caught)
    assert not (root / "workspace" / "crawl" / "3").exists()
    run_editions(root, "a", THIRD, start="1")
    assert releases(root)["3"][0] == "1" and alias(root).current() == "3"
    assert "--from" in alias(root).history()[-1].reason
    run_editions(root, "a", {"4": "2020-02-10"})
    assert releases(root)["4"][0] == "3"


@pytest.mark.parametrize("lost", LOST[6:])
def test_a_rollback_says_what_is_in_production_where_the_log_is_lost(root: Path, lost: str) -> None:
    """The log then names every release again, and a run goes on."""
    path = root / "workspace" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    place = Workspace(root / "workspace")
    alias(root).move("1", "rollback", kept=unnamed(place, alias(root), but="1"))
    run_editions(root, "a", THIRD)
    assert releases(root)["3"][0] == "1"


@pytest.mark.parametrize("lost", ["plan/2", "probe/2"])
def test_a_release_that_a_person_names_is_followed_without_what_it_held(
    root: Path, lost: str
) -> None:
    """The refusal names it too: what waited with it is then forgotten, and a person knows."""
    run_editions(root, "b", {"b1": "2020-01-10"})
    shutil.rmtree(root / "workspace" / lost)
    with pytest.raises(StageError, match="with 1, 2, base, where base"):
        run_editions(root, "a", THIRD)
    run_editions(root, "a", THIRD, start="2")
    assert releases(root)["3"][0] == "2"


def test_a_log_of_an_earlier_version_goes_on(root: Path) -> None:
    """Without the number of its last entry beside it."""
    (alias(root).directory / "head.json").unlink()
    run_editions(root, "a", THIRD)
    assert releases(root)["3"][0] == "2"


def test_what_was_killed_between_release_and_log_is_moved_by_the_next_run(root: Path) -> None:
    """And a run of another edition before that is refused."""
    (alias(root).directory / "00000002.json").unlink()
    (alias(root).directory / "head.json").write_text(json.dumps({"seq": 1}))
    with pytest.raises(StageError, match="does not name 2 of line a"):
        run_editions(root, "a", THIRD)
    run_editions(root, "a", BOTH)
    assert alias(root).current() == "2"


def test_from_the_unedited_model(root: Path) -> None:
    """`base` is no release; what is in production is then the new one all the same."""
    run_editions(root, "a", THIRD, start="base")
    assert releases(root)["3"][0] is None and alias(root).current() == "3"


def test_from_needs_a_release_of_the_line_and_an_edition_that_is_not_released(root: Path) -> None:
    """Otherwise it is an error that names what there is."""
    run_editions(root, "b", {"b1": "2020-01-10"})
    with pytest.raises(
        StageError, match=r"no release of line a\. Give one of 1, 2, base"
    ) as caught:
        run_editions(root, "a", THIRD, start="b1")
    one_line(caught)
    with pytest.raises(ConfigError, match="all editions of the config are released"):
        run_editions(root, "a", BOTH, start="1")


def test_a_rollback_while_an_edition_is_evaluated_stands(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release is kept and said to be; running it again does not move production either, and
    the next edition follows what production was moved to."""

    def meanwhile(version: str) -> None:
        if version == "3":
            alias(root).move("1", "rollback from 2")

    monkeypatch.setattr(Attempts, "meanwhile", meanwhile)
    with pytest.raises(StageError, match=r"production was moved to 1.*rollback 3`") as caught:
        run_editions(root, "a", ALL)
    one_line(caught)
    assert releases(root)["3"][0] == "2" and alias(root).current() == "1"
    monkeypatch.undo()
    fake(monkeypatch)
    run_editions(root, "a", {**ALL, "4": "2020-02-10"})
    assert releases(root)["4"][0] == "1" and alias(root).current() == "4"


def test_what_was_looked_at_before_its_parent_was_released_is_made_anew(tmp_path: Path) -> None:
    """A look at two editions and then their run give what the run alone gives, and say so."""
    whole, looked = tmp_path / "whole", tmp_path / "looked"
    for place in (whole, looked):
        place.mkdir()
    run_editions(whole, "a", BOTH)
    assert run_editions(looked, "a", BOTH, until="plan") == []
    told = run_editions(looked, "a", BOTH)
    assert len(told) == 3 and all("now follows 1" in line for line in told)
    assert releases(looked) == releases(whole)
    assert run_editions(looked, "a", BOTH) == []


def test_a_setting_that_changed_is_no_reason_to_make_anew(root: Path) -> None:
    """Not even where the parent has changed too: the edition is refused, or --replace is given."""
    run_editions(root, "a", THIRD, until="plan")
    alias(root).move("1", "rollback from 2")
    other = ({"kind": "table", "name": "others", "path": "people.jsonl"},)
    with pytest.raises(StageError, match="was made from something else"):
        run_editions(root, "a", THIRD, sources=other)


@pytest.mark.parametrize("replace", [False, True])
def test_what_another_process_released_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """It is looked for right before an output is replaced, when the new one is already made."""
    from pipeline import flow

    run_editions(tmp_path, "a", FIRST)
    run_editions(tmp_path, "a", {"2": BOTH["2"]}, until="plan")
    before = Workspace(tmp_path / "workspace").find("plan", "2")
    original = flow.plan

    def plan(inputs: Any, out: Any, runner: Any) -> Any:
        made = original(inputs, out, runner)
        monkeypatch.setattr(flow, "plan", original)
        released = Workspace(tmp_path / "workspace").directory("release", "2")
        released.mkdir(parents=True)
        return made

    monkeypatch.setattr(flow, "plan", plan)
    more: Any = {"replace": True} if replace else {}
    alias(tmp_path).move("1", "again")
    with pytest.raises(StageError, match="plan/2 was made from something else"):
        run_editions(tmp_path, "a", {"2": BOTH["2"]}, start="base", **more)
    after = Workspace(tmp_path / "workspace").find("plan", "2")
    assert before and after and after.digest == before.digest


def test_a_snapshot_made_later_does_not_change_what_an_edition_continued(root: Path) -> None:
    """Neither a look at a day in between nor another line's edition of the same sources."""
    run_editions(root, "a", {"look": "2020-01-15"}, until="snapshot")
    run_editions(root, "b", {"b1": "2020-01-16"})
    before = releases(root)
    run_editions(root, "a", BOTH)
    assert releases(root) == before


def test_lines_share_a_snapshot_only_of_the_same_sources(root: Path) -> None:
    """A source of the same name with another path is another source to another line."""
    other = ({"kind": "table", "name": "people", "path": "other.jsonl"},)
    (root / "other.jsonl").touch()
    run_editions(root, "b", {"b1": "2020-01-25"}, until="snapshot", sources=other)
    run_editions(root, "c", {"c1": "2020-01-25"}, until="snapshot")
    place = Workspace(root / "workspace")
    continued = {}
    for version in ("b1", "c1"):
        made = place.find("crawl", version)
        assert made
        continued[version] = made.record["made_from"]["inputs"]["previous"]
    second = place.find("snapshot", "2")
    assert second and continued == {"b1": None, "c1": second.digest}


EXAMPLES = int(os.environ.get("LINEAGE_EXAMPLES", "5"))
"""Orders that are tried; more by hand, at about a second each."""
LINES = ("a", "b")
DAYS = {"a": (10, 20, 28), "b": (5, 15, 25)}


def editions_of(line: str, number: int) -> dict[str, str]:
    """The first editions of a line."""
    return {f"{line}{n}": f"2020-01-{day:02}" for n, day in enumerate(DAYS[line][:number])}


@st.composite
def orders(draw: st.DrawFn) -> list[tuple[str, str, int, str]]:
    """Operations in some order: kind, line, number of editions or of the release, last stage."""
    kinds = st.sampled_from(["run", "run", "look", "between", "rollback"])
    stages = st.sampled_from(["crawl", "snapshot", "diff", "plan"])
    operation = st.tuples(kinds, st.sampled_from(LINES), st.integers(1, 3), stages)
    return draw(st.lists(operation, min_size=1, max_size=6))


def do(root: Path, operation: tuple[str, str, int, str]) -> str | None:
    """Carry out an operation; the error of one that is refused."""
    kind, line, number, until = operation
    try:
        if kind == "run":
            run_editions(root, line, editions_of(line, number))
        elif kind == "look":
            run_editions(root, line, editions_of(line, number), until=until)
        elif kind == "between":
            day = {f"{line}-{number}": f"2020-01-{DAYS[line][number - 1] + 2:02}"}
            run_editions(root, line, day, until=until)
        else:
            known = releases_of(Workspace(root / "workspace"), line)
            if known:
                alias(root, line).move(known[(number - 1) % len(known)], "rollback")
    except StageError as error:
        return str(error)
    return None


def fresh(root: Path) -> Iterator[Path]:
    """Empty directories."""
    number = 0
    while True:
        number += 1
        path = root / str(number)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        yield path


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=orders())
def test_any_order_ends_in_the_releases_of_each_line_alone(
    tmp_path: Path, order: list[tuple[str, str, int, str]]
) -> None:
    """Looks and other lines change no release, no parent, and nothing that is in production; what
    is refused is refused alone too."""
    places = fresh(tmp_path)
    together = next(places)
    said = {line: [] for line in LINES}
    for operation in order:
        error = do(together, operation)
        if operation[0] in ("run", "rollback"):
            said[operation[1]].append(error is None)
        else:
            assert error is None, error
    for line in LINES:
        alone = next(places)
        runs = [one for one in order if one[1] == line and one[0] in ("run", "rollback")]
        assert [do(alone, one) is None for one in runs] == said[line]
        mine = {v: about for v, about in releases(together).items() if v.startswith(line)}
        assert mine == releases(alone)
        assert alias(together, line).current() == alias(alone, line).current()
