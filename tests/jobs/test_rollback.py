"""`corrigenda rollback` moves within a line, and mends a log that has lost an entry."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_stages import fake, run_editions

from infra.storage.workspace import Workspace
from pipeline.check.editions import check_editions
from pipeline.config import Config
from pipeline.release.alias import Alias


@pytest.fixture()
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of two lines, of two releases and one."""
    fake(monkeypatch)
    run_editions(tmp_path, "a", {"a1": "2020-01-10", "a2": "2020-01-20"})
    run_editions(tmp_path, "b", {"b1": "2020-01-10"})
    return tmp_path / "workspace"


@pytest.mark.parametrize("target", ["b1", "./a1", "a1/", "../../x", "."])
def test_only_a_release_of_the_line_is_rolled_back_to(
    place: Path, corrigenda: Any, target: str
) -> None:
    """What is in production stays, and one line says what there is."""
    code, out, err = corrigenda("rollback", target, "--line", "a", "-w", place)
    assert code == 1 and not out and len(err.splitlines()) == 1
    if target == "b1":
        assert "is no release of line a" in err and "There are: a1, a2." in err
    else:
        assert "use 1 to 128 of the letters" in err
    assert Alias(Workspace(place), "a").current() == "a2"


def test_a_lost_log_is_one_line_in_every_command_and_a_rollback_mends_it(
    place: Path, corrigenda: Any
) -> None:
    """Also where the release that was in production is gone with it."""
    (Alias(Workspace(place), "a").directory / "00000002.json").unlink()
    code, out, _ = corrigenda("status", "-w", place)
    assert code == 0 and "last entry was number 2" in " ".join(out.split())
    for words in (("rollback", "--line", "a"), ("ask", "x", "--line", "a")):
        code, _, err = corrigenda(*words, "-w", place)
        assert code == 1 and len(err.splitlines()) == 1 and "last entry was number 2" in err, words
    code, out, _ = corrigenda("rollback", "a1", "--line", "a", "-w", place)
    assert code == 0 and "production: a1 -> a1" in out
    shutil.rmtree(place / "aliases")
    code, _, err = corrigenda("rollback", "--line", "a", "-w", place)
    assert code == 1 and len(err.splitlines()) == 1 and "There are: a1, a2." in err
    code, out, _ = corrigenda("rollback", "a2", "--line", "a", "-w", place)
    assert code == 0 and Alias(Workspace(place), "a").known() == {"a1", "a2"}


def test_a_check_says_what_a_run_would_refuse(place: Path) -> None:
    """The release in production is gone: the next edition would be refused, and no parent of it is
    named."""
    shutil.rmtree(place / "release" / "a2")
    config = Config.model_validate(
        {
            "line": "a",
            "sources": [{"kind": "table", "name": "people", "path": "people.jsonl"}],
            "editions": [{"version": "a3", "as_of": "2020-01-30"}],
        }
    )
    found = check_editions(config, Workspace(place), None)
    assert len(found.stops) == 1 and "--from VERSION" in found.stops[0]
    assert found.editions[0].parent is None
