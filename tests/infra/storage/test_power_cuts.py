"""After a power cut an output is there whole or not at all, and goes on to the same content; values
that were found are there. Cut is at every step, of what is not flushed by then any part."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from benchmarks.common.fault_states import CUTS
from benchmarks.common.file_history import Recorder, after_power_cut, digest_of_tree, write_tree
from infra.storage.artifact import Artifact
from infra.storage.integrity import extra_files, faults
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace
from pipeline.edit.value_store import ValueStore


@pytest.fixture()
def recorder(tmp_path: Path) -> Recorder:
    """Records what is done in the directory `root`."""
    for name in ("root", "contents"):
        (tmp_path / name).mkdir()
    return Recorder(tmp_path / "root", tmp_path / "contents")


@contextmanager
def left(recorder: Recorder, tree: Any) -> Iterator[Path]:
    """A directory as a power cut leaves it, while the block runs."""
    place = recorder.root.with_name("after")
    write_tree(tree, place, recorder.store)
    yield place
    shutil.rmtree(place)


def make(root: Path, **more: Any) -> Artifact:
    def body(out: StageDir) -> dict[str, int]:
        out.write_json("value.json", more)
        out.write_table("parts/table.parquet", pa.table({"x": [1, 2]}))
        out.progress(1, 2)
        return {}

    return Workspace.at(str(root)).run_stage(
        "s", "v", code=1, made_from=more, body=body, replace=True
    )


def test_an_output_is_whole_or_not_there(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has its name has all its files, as they were written, and none that is not its own,
    while it is made, and while another takes its place."""
    with recorder.recording():
        wanted = {make(recorder.root).digest, make(recorder.root, changed=1).digest}
    assert len(wanted) == 2 and len(recorder.steps) > 30
    monkeypatch.setattr("os.fsync", lambda _: None)  # the cuts are over
    trees = {
        digest_of_tree(tree := cut(step)): tree for step in recorder.steps for cut in CUTS.values()
    }
    for tree in trees.values():
        with left(recorder, tree) as place:
            found = Workspace.at(str(place)).find("s", "v")
            if found is not None:
                assert found.digest in wanted
                assert not list(faults(found.path, found.record, up_to=None))
                assert not list(extra_files(found.path, found.record))
            assert make(place, changed=1).digest in wanted


def test_values_that_were_found_are_there(recorder: Recorder) -> None:
    """Found again in another batch they would differ in the last digits, and with them a release:
    nothing of them is left to be written when they have been kept."""
    with recorder.recording():
        for number in range(2):
            ValueStore(recorder.root / "values").update({f"{number}": torch.full((3,), number)})
    last = recorder.steps[-1]
    with left(recorder, after_power_cut(last, names=False, contents=False)) as place:
        store = ValueStore(place / "values")
        assert "0" in store and "1" in store
        assert torch.equal(store["1"], torch.full((3,), 1))
