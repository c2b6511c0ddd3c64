"""Files of caches tell by a digest of their own whether they are whole; new files can be read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from full_disk import no_room
from safetensors.torch import load_file, save_file
from tiny_models import make_model, make_tokenizer

from infra.files.atomic import put_if_absent, write_atomic
from infra.files.clone import clone, takes_no_room
from infra.files.notes import read_note, write_note
from infra.files.tensors import is_whole, save_tensors, save_with_digest
from infra.models.embedded import save_model

TENSORS = {"a": torch.arange(7.0), "b": torch.zeros(2, 3, dtype=torch.bfloat16)}


@pytest.fixture()
def umask() -> Iterator[None]:
    """New files may be read by the group and by nobody else."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_every_bit_of_a_file_counts(tmp_path: Path) -> None:
    """Header, metadata and tensors: whatever is turned or cut, the file is no longer whole."""
    path = tmp_path / "x.safetensors"
    save_with_digest(TENSORS, path, {"format": "mine"})
    assert is_whole(path) and torch.equal(load_file(path)["a"], TENSORS["a"])
    data = path.read_bytes()
    for at in range(0, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        if is_whole(path):  # the spaces behind the header, and a key by another name
            assert torch.equal(load_file(path)["a"], TENSORS["a"]), at
        path.write_bytes(data[:at])
        assert not is_whole(path), at
    path.unlink()
    assert not is_whole(path)


def test_a_file_of_an_earlier_version_is_whole_where_it_can_be_read(tmp_path: Path) -> None:
    """It has no digest, so header and size are all that is known."""
    path = tmp_path / "x.safetensors"
    save_file(TENSORS, path)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_whole(path)


def test_new_files_have_the_rights_of_any_new_file(tmp_path: Path, umask: None) -> None:
    """And a file of the same name that has a link elsewhere is not written into."""
    path, link = tmp_path / "x.safetensors", tmp_path / "link"
    save_tensors(TENSORS, path)
    os.link(path, link)
    before = link.read_bytes()
    save_with_digest({"a": torch.ones(1)}, path)
    clone(path, tmp_path / "copy")
    assert link.read_bytes() == before
    for file in (path, link, tmp_path / "copy"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_clone_is_a_file_of_its_own(tmp_path: Path) -> None:
    """Whatever the file system can, the content is the same and the original may be overwritten."""
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    for data in (b"", b"x" * 100_000):
        source.write_bytes(data)
        clone(source, target)
        assert target.read_bytes() == data and not target.samefile(source)
        source.write_bytes(b"another")
        assert target.read_bytes() == data
    assert takes_no_room(source, tmp_path / "new") in (True, False)
    assert not list((tmp_path / "new").iterdir())


WRITERS: dict[str, Callable[[Path], object]] = {
    "tensors": partial(save_tensors, {"a": torch.zeros(4096)}),
    "tensors with a digest": partial(save_with_digest, {"a": torch.zeros(4096)}),
    "a table": lambda path: pq.write_table(pa.table({"a": range(9999)}), path, compression="none"),
    "text": lambda path: path.write_text("a" * 9999),
}
SAVERS: dict[str, Callable[[Path], object]] = {
    **{name: partial(write_atomic, write=write) for name, write in WRITERS.items()},
    "a new file": lambda path: put_if_absent(path, "a" * 9999),
    "a model": lambda path: save_model(make_model("llama", torch.float32), Nothing(), path),
    "a tokenizer": lambda path: save_model(Nothing(), make_tokenizer(), path),
}


class Nothing:
    """Stands for a model or tokenizer that writes nothing."""

    def save_pretrained(self, *_: object, **__: object) -> None: ...


@pytest.mark.parametrize("what", SAVERS)
def test_a_full_disk_is_an_error_of_the_system(what: str, tmp_path: Path) -> None:
    """Whichever library writes, it is an OSError by which the system's reason is known, and names
    the file; no file is left."""
    path = tmp_path / "x"
    with no_room(), pytest.raises(OSError, match=f"File too large: '{path}'") as caught:
        SAVERS[what](path)
    assert caught.value.errno == errno.EFBIG
    assert not path.is_file() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("value", [{"a": [1, None]}, [], "text"])
def test_a_note_that_is_cut_or_altered_is_none(tmp_path: Path, value: object) -> None:
    """Every prefix, and every byte turned that changes the value."""
    path = tmp_path / "note.json"
    assert read_note(path) is None
    write_note(path, value)
    assert read_note(path) == value
    data = path.read_bytes()
    for at in range(len(data) - 1):
        path.write_bytes(data[:at])
        assert read_note(path) is None
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert read_note(path) in (None, value)
