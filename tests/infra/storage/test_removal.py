"""A stage removes its own unfinished or replaced output, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.errors import StageError
from infra.storage.removal import FINGERPRINT, RECORD
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace


def make(place: Workspace, value: int = 1, **more: Any) -> Any:
    def body(out: StageDir) -> dict[str, int]:
        out.write_json("value.json", value)
        return {}

    return place.run_stage("s", "v", code=1, made_from={"value": value}, body=body, **more)


def everything_in(root: Path) -> dict[str, bytes | None]:
    """Every path below a directory -> content; None of directories."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if path.suffix != ".lock"
    }


def a_folder(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "thesis.txt").write_text("years of work")


def another_record(path: Path) -> None:
    a_folder(path)
    (path / RECORD).write_text(json.dumps({"version": "v.partial"}))


def half_a_record(path: Path) -> None:
    a_folder(path)
    (path / RECORD).write_text('{"version": ')


def a_link(path: Path) -> None:
    a_folder(path.parent.parent / "elsewhere")
    path.parent.mkdir()
    path.symlink_to(path.parent.parent / "elsewhere")


def a_link_to_an_unfinished_output(path: Path) -> None:
    a_link(path)
    (path / FINGERPRINT).write_text('"of another run"')


def a_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("years of work")


FOREIGN = (a_folder, another_record, half_a_record, a_link, a_link_to_an_unfinished_output, a_file)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", ["v", "v.partial"])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_is_not_ours_is_never_removed(
    foreign: Callable[[Path], None], name: str, replace: bool, tmp_path: Path
) -> None:
    """Whatever has the name of an output or of an unfinished one, and is none: the stage refuses in
    one line, also where it may replace and begins anew, and all files are as they were."""
    foreign(tmp_path / "s" / name)
    before = everything_in(tmp_path)
    with pytest.raises(StageError) as caught:
        make(Workspace(tmp_path), replace=replace, restart=True)
    assert "\n" not in str(caught.value)
    after = everything_in(tmp_path)
    assert {path: after.get(path) for path in before} == before


def test_unfinished_output_of_this_version_is_removed(tmp_path: Path) -> None:
    """Of another fingerprint, with a fingerprint that is cut, finished but for its name, and empty:
    whatever an interrupted run leaves, the next makes the output, and nothing lies beside it."""
    place = Workspace(tmp_path)
    for left in ({FINGERPRINT: '"old"'}, {FINGERPRINT: ""}, {RECORD: '{"version": "v"}'}, {}):
        partial = place.partial("s", "v")
        (partial / "shards").mkdir(parents=True)
        for name, text in {"old.json": "1", **left}.items() if left else ():
            (partial / name).write_text(text)
        if not left:
            (partial / "shards").rmdir()
        (tmp_path / "s" / f".v.{'0' * 32}.tmp").mkdir()
        made = make(place, replace=True)
        assert sorted(path.name for path in made.path.iterdir()) == [RECORD, "value.json"]
        assert [path.name for path in (tmp_path / "s").iterdir()] == ["v"]
        made.path.rename(partial)
        for path in partial.iterdir():
            path.unlink()
        partial.rmdir()


def test_an_output_with_its_record_is_replaced_and_only_then(tmp_path: Path) -> None:
    """The new one has the name, the old one is gone; where replacing is not allowed or its record
    is lost, the old one stays."""
    place = Workspace(tmp_path)
    make(place, 1)
    with pytest.raises(StageError, match="--replace"):
        make(place, 2)
    assert make(place, 2, replace=True).json("value.json") == 2
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["v"]
    (tmp_path / "s" / "v" / RECORD).unlink()
    with pytest.raises(StageError, match="in the way"):
        make(place, 3, replace=True)
    assert json.loads((tmp_path / "s" / "v" / "value.json").read_text()) == 2


def test_copies_of_outputs_are_no_versions(tmp_path: Path) -> None:
    """What a program that synchronises files leaves, an output that has no name yet, and what is
    about to be removed do not count as versions."""
    place = Workspace(tmp_path)
    made = make(place)
    record = (made.path / RECORD).read_text()
    for name in ("v (conflicted copy)", "v.partial", ".v", f".v.{'0' * 32}.tmp", ".stversions"):
        (tmp_path / "s" / name).mkdir()
        (tmp_path / "s" / name / RECORD).write_text(record)
    (tmp_path / "s" / ".DS_Store").write_bytes(b"\0\1")
    assert place.versions("s") == ["v"]
