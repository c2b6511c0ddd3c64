"""An exported checkpoint is a directory of its own, which whoever serves it can read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import make_model, make_tokenizer

from infra.models.checkpoint import Checkpoint


@pytest.fixture()
def base(tmp_path: Path) -> Path:
    """A model in several shards."""
    path = tmp_path / "base"
    make_model("llama", torch.float32).save_pretrained(path, max_shard_size="40KB")
    make_tokenizer().save_pretrained(path)
    assert len(list(path.glob("*.safetensors"))) > 3
    return path


def test_overwriting_the_base_leaves_an_export_as_it_is(base: Path, tmp_path: Path) -> None:
    """In place, as `cp` does it: no file of the export is one of the base's."""
    stored = Checkpoint(base)
    name = next(name for name in stored.file_of if name.endswith("down_proj.weight"))
    stored.export(tmp_path / "export", {name: stored.tensor(name) + 1})
    exported = {p.name: p.read_bytes() for p in (tmp_path / "export").iterdir()}
    assert load_file(tmp_path / "export" / stored.file_of[name])[name].shape
    for path in base.iterdir():
        assert not path.samefile(tmp_path / "export" / path.name)
        with path.open("r+b") as file:
            file.write(b"other")
    assert {p.name: p.read_bytes() for p in (tmp_path / "export").iterdir()} == exported


def test_weights_of_an_export_may_be_read_by_all_and_written_by_none(
    base: Path, tmp_path: Path
) -> None:
    """Evaluation and release are links to one file. The base's own rights stay."""
    rights = {path.name: path.stat().st_mode for path in base.iterdir()}
    stored = Checkpoint(base)
    for _ in range(2):  # also over what an interrupted export has left
        stored.export(tmp_path / "export", {})
    for name in stored.files.weights:
        assert stat.S_IMODE((tmp_path / "export" / name).stat().st_mode) == 0o444
    assert stat.S_IMODE((tmp_path / "export" / "config.json").stat().st_mode) & 0o444 == 0o444
    stored.export(tmp_path / "scratch", {}, lasting=False)
    for name in stored.files.weights:
        assert (tmp_path / "scratch" / name).samefile(base / name)
    assert {path.name: path.stat().st_mode for path in base.iterdir()} == rights
