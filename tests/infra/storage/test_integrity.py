"""Whether files of an output are those of its record, for every format and every damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from infra.errors import StageError
from infra.files.atomic import write_json
from infra.files.tensors import save_tensors
from infra.storage.integrity import (
    BYTES,
    RECORD,
    RECORD_DIGEST,
    extra_files,
    faults,
    read_record,
    whole_file,
)
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "altered": lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
    "cut": lambda data: data[:-1],
    "empty": lambda _: b"",
    "longer": lambda data: data + b"\n",
}
NAMES = ("table.parquet", "value.json", "weights.safetensors", "folder/page.html")


def write(out: StageDir) -> dict[str, object]:
    """A file of each format; a count whose keys JSON sorts otherwise than Python."""
    out.write_table("table.parquet", pa.table({"a": list(range(100))}))
    out.write_json("value.json", {"a": 1})
    save_tensors({"a": torch.arange(100.0)}, out.path / "weights.safetensors")
    (out.path / "folder").mkdir(exist_ok=True)
    (out.path / "folder" / "page.html").write_text("<p>page</p>")
    return {"n": {2: 1, 10: 1}}


@pytest.fixture()
def output(tmp_path: Path) -> Path:
    made = Workspace(tmp_path).run_stage("s", "v", code=1, made_from={}, body=write)
    return made.path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_named_before_a_file_is_read(output: Path, name: str, how: str) -> None:
    """Whatever the format; the error says which file, what it is, and what can be done."""
    assert whole_file(output, name) == output / name
    path = output / name
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    with pytest.raises(StageError, match=rf"{path} is {how}.*backup.*run the same command again"):
        whole_file(output, name)
    path.unlink()
    with pytest.raises(StageError, match=f"{path} is missing"):
        whole_file(output, name)


@pytest.mark.parametrize("name", NAMES[:3])
@pytest.mark.parametrize("how", ["altered", "cut"])
def test_an_earlier_record_has_digests_of_contents_only(output: Path, name: str, how: str) -> None:
    """All that it can tell is told: of Parquet, whether it can be read, and its rows if asked."""
    record = read_record(output)
    del record[BYTES], record[RECORD_DIGEST]
    write_json(output / RECORD, record)
    assert not list(faults(output, read_record(output), up_to=None))
    path = output / name
    data = path.read_bytes()
    middle = data[:10] + bytes([data[10] ^ 1]) + data[11:]
    path.write_bytes(middle if how == "altered" else data[:-1])
    assert [fault.path for fault in faults(output, record, up_to=None)] == [path]


def test_of_large_files_size_and_header_are_read(output: Path) -> None:
    """A byte behind the header is found by a thorough look alone; a header that lies is not."""
    path = output / "weights.safetensors"
    data = path.read_bytes()
    path.write_bytes(DAMAGE["altered"](data))
    record = read_record(output)
    assert not list(faults(output, record, up_to=10))
    assert [fault.path for fault in faults(output, record, up_to=None)] == [path]
    path.write_bytes(b"\xff" * 8 + data[8:])
    assert [fault.path for fault in faults(output, record, up_to=10)] == [path]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"stage": "s"', '"stage": "t"'),
        lambda text: text.replace(RECORD_DIGEST, "another_key"),
    ],
)
def test_a_record_that_is_not_what_was_written_is_refused(
    output: Path, spoil: Callable[[str], str]
) -> None:
    """One line that names it, whoever looks for the output."""
    path = output / RECORD
    path.write_text(spoil(path.read_text()))
    with pytest.raises(StageError, match=rf"{path} .*backup.*delete {output}"):
        Workspace(output.parent.parent).find("s", "v")


def test_a_file_that_no_stage_wrote_is_extra(output: Path) -> None:
    """A server might load it. Hidden files of the system do not count."""
    (output / "folder" / "more.safetensors").write_bytes(b"x")
    (output / ".DS_Store").write_bytes(b"x")
    found = list(extra_files(output, read_record(output)))
    assert [fault.path.name for fault in found] == ["more.safetensors"]


def test_a_damaged_output_is_made_anew_only_where_it_gives_the_same(tmp_path: Path) -> None:
    """With a line; without leave it is an error, and what comes out differently is refused until
    it may be replaced."""
    workspace, told = Workspace(tmp_path), []
    content = ["one"]

    def make(**options: object) -> str:
        def body(out: StageDir) -> dict[str, int]:
            out.write_json("value.json", content[0])
            return {}

        made = workspace.run_stage("s", "v", code=1, made_from={}, body=body, **options)  # pyright: ignore[reportArgumentType]
        return made.json("value.json")

    make()
    path = tmp_path / "s" / "v" / "value.json"
    path.write_text('"oNe"\n')
    with pytest.raises(StageError, match=r"value\.json is altered"):
        make()
    assert make(remake=told.append) == "one"
    assert len(told) == 1 and "value.json is altered" in told[0]
    path.unlink()
    with pytest.raises(StageError, match=r"value\.json is missing"):
        make()
    content[0] = "two"
    with pytest.raises(StageError, match=r"holds something else.*--replace"):
        make(remake=told.append)
    assert not path.exists()
    assert make(remake=told.append, replace=True) == "two"
