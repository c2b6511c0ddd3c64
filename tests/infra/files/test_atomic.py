"""A hard link never overwrites, follows symbolic links, and falls back to a copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.files.atomic import link_or_copy


def test_a_link_shares_the_content(tmp_path: Path) -> None:
    """Source and target are one file, so the content is on disk once."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    link_or_copy(source, str(target))
    assert target.read_text() == "new" and target.samefile(source)


def test_an_existing_target_is_removed_and_not_overwritten(tmp_path: Path) -> None:
    """A file that the target shared with another name keeps its content."""
    source, target, other = tmp_path / "source", tmp_path / "target", tmp_path / "other"
    source.write_text("new")
    other.write_text("old")
    os.link(other, target)
    link_or_copy(source, target)
    assert target.read_text() == "new" and other.read_text() == "old"


def test_a_copy_does_not_overwrite_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no links the target is a copy, which overwrites nothing."""
    source, target, other = tmp_path / "source", tmp_path / "target", tmp_path / "other"
    source.write_text("new")
    other.write_text("old")
    os.link(other, target)

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, target)
    assert target.read_text() == "new" and other.read_text() == "old"
    assert not target.samefile(source)


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """The target is the file itself: it stays readable when the symbolic link is gone."""
    source, symbolic, target = tmp_path / "source", tmp_path / "symbolic", tmp_path / "target"
    source.write_text("new")
    symbolic.symlink_to(source)
    link_or_copy(symbolic, target)
    assert not target.is_symlink() and target.samefile(source)
    symbolic.unlink()
    assert target.read_text() == "new"
