"""Several processes share a store of values: each finds whole values, or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from infra.files.tensors import is_whole
from pipeline.edit import value_store
from pipeline.edit.value_store import ValueStore


def values(number: int) -> dict[str, torch.Tensor]:
    return {f"{number} {key}": torch.full((500,), float(number)) for key in range(3)}


def test_two_writers_leave_a_whole_store(tmp_path: Path) -> None:
    """Two processes keep the same groups of values at the same time, and look for them."""
    children = []
    for _ in range(2):
        if (pid := os.fork()) == 0:
            code = 1
            try:
                for number in range(20):
                    store = ValueStore(tmp_path)
                    store.update(values(number))
                    assert all(torch.equal(store[k], v) for k, v in values(number).items())
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    store = ValueStore(tmp_path)
    assert all(key in store for number in range(20) for key in values(number))
    assert len(list(tmp_path.iterdir())) == 20


def test_a_damaged_file_that_another_process_mends_is_read_as_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look into a damaged file and its check: the values are those of the whole one."""
    ValueStore(tmp_path).update(values(7))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\0\1")

    def mended(file: Path) -> bool:
        other = tmp_path / "other"
        other.write_bytes(whole)
        other.replace(file)
        return is_whole(file)

    monkeypatch.setattr(value_store, "is_whole", mended)
    store = ValueStore(tmp_path)
    for key, value in values(7).items():
        assert key in store and torch.equal(store[key], value)
