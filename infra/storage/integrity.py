"""Whether the files of a finished output are those that its record lists.

A record has a digest of itself, and for each file of the output its size and the SHA-256 of its
bytes. A process hashes a file again only if its size, times or inode have changed. Records of
earlier versions have digests of contents only: the rows of a Parquet file, the bytes of any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from infra.errors import StageError
from infra.files.digest import canonical_json, content_digest, digest_of, file_digest

RECORD = "record.json"
"""File that says what an output was made from, and its digests and counts."""
BYTES = "bytes"
"""Key of a record: file name -> `size` and `sha256` of the file's bytes."""
RECORD_DIGEST = "record_sha256"
"""Key of a record: the digest of the record without this key."""
LARGE_BYTES = 1 << 30
"""Above this size only size and header of a file are checked as it is read."""
NEEDED = ("digest", "files", "counts", "fingerprint")
"""Keys that every record has."""
State = tuple[int, int, int, int]
"""Size, times of change and inode of a file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one file of an output."""

    path: Path
    """The file."""
    what: str
    """`missing`, `empty`, `cut`, `longer`, `altered`, `unreadable` or `extra`, with numbers."""

    def __str__(self) -> str:
        """The file and what is wrong with it, as the beginning of a sentence."""
        return f"{self.path} is {self.what}"


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it is read again, with its own digest."""
    value = json.loads(canonical_json(record))
    return {**value, RECORD_DIGEST: digest_of(value)}


def bytes_of(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, as a record has them."""
    return {"size": path.stat().st_size, "sha256": file_digest(path)}


def read_record(directory: Path) -> dict[str, Any]:
    """The record of a finished output.

    Raises FileNotFoundError where there is none, and StageError where it is not what was written.
    """
    path = directory / RECORD
    return json.loads(_record_text(path, _state(path)))


def recorded_bytes(directory: Path, name: str) -> dict[str, Any] | None:
    """Size and SHA-256 of an output's file by its record; None where the record has none."""
    try:
        return read_record(directory).get(BYTES, {}).get(name)
    except FileNotFoundError:
        return None


def whole_file(directory: Path, name: str) -> Path:
    """The path of a file of an output, which is checked as far as `faults` does before a read.

    directory  of an output; of an unfinished one, which has no record, it is checked only that the
               file is there

    Raises StageError that names the file, what is wrong with it, and what can be done.
    """
    try:
        record = read_record(directory)
    except FileNotFoundError:
        record = {}
    if fault := _fault(directory, name, record, LARGE_BYTES):
        raise StageError(damage(fault))
    return directory / name


def damage(fault: Fault) -> str:
    """The error message for a damaged file of an output."""
    return (
        f"{fault}. Restore it from a backup, or run the same command again, which makes anew what "
        "is not released; `corrigenda verify` lists all that is damaged."
    )


def faults(
    directory: Path,
    record: Mapping[str, Any],
    *,
    up_to: int | None = LARGE_BYTES,
    tell: Callable[[int], object] = lambda size: None,
) -> Iterator[Fault]:
    """The files of an output that are missing or not what its record says.

    up_to  size in bytes up to which contents are hashed; of larger files, size and header are
           checked. None hashes all, and rows where a record has no digest of bytes
    tell   called with the size of each file that has been checked
    """
    for name in record["files"]:
        if fault := _fault(directory, name, record, up_to):
            yield fault
        else:
            tell((directory / name).stat().st_size)


def extra_files(directory: Path, record: Mapping[str, Any]) -> Iterator[Fault]:
    """Files in an output's directory that its record does not have; hidden ones do not count."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if not hidden and not path.is_dir() and name != RECORD and name not in record["files"]:
            yield Fault(path, "extra: no stage wrote it")


def _fault(
    directory: Path, name: str, record: Mapping[str, Any], up_to: int | None
) -> Fault | None:
    """What is wrong with one file of an output, or None. A file that the record does not have is
    only looked for."""
    path = directory / name
    known = record.get(BYTES, {}).get(name, {})
    content = record.get("files", {}).get(name)
    digest = known.get("sha256") or (None if path.suffix == ".parquet" else content)
    try:
        if not path.is_file():
            return Fault(path, "missing")
        state = _state(path)
        size = known.get("size", state[0])
        if state[0] != size:
            return Fault(path, f"{_changed(state[0], size)}: {state[0]} bytes of {size}")
        if digest and (up_to is None or size <= up_to):
            same = _sha256(path, state) == digest
        elif content and up_to is None:
            same = content_digest(path) == content
        else:
            same = True
            _read_header(path)
    except (pa.ArrowException, SafetensorError, OSError) as error:
        return Fault(path, f"unreadable ({str(error).splitlines()[0]})")
    return None if same else Fault(path, "altered: its content is not the one that was written")


def _changed(size: int, wanted: int) -> str:
    """What is wrong with a file of another size than it was written with."""
    return "empty" if not size else "cut" if size < wanted else "longer"


def _read_header(path: Path) -> None:
    """Read the part of a file that says where its content is. Raises the error of its library where
    the file is cut."""
    if path.suffix == ".parquet":
        pq.read_metadata(path)
    elif path.suffix == ".safetensors":
        with safe_open(path, "pt"):
            pass


def _state(path: Path) -> State:
    """The size, times and inode of a file, some of which change with its content. Raises
    FileNotFoundError."""
    about = path.stat()
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino


@lru_cache(maxsize=1 << 16)
def _sha256(path: Path, state: State) -> str:
    """SHA-256 of the bytes of a file in this state."""
    return file_digest(path)


@lru_cache(maxsize=1 << 10)
def _record_text(path: Path, state: State) -> str:
    """The text of a record in this state, after a check. Raises StageError."""
    try:
        record = json.loads(text := path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise StageError(_bad_record(path, f"cannot be read ({error})")) from None
    if not isinstance(record, dict) or any(key not in record for key in NEEDED):
        raise StageError(_bad_record(path, "is no record of an output"))
    digest = record.pop(RECORD_DIGEST, None)
    if (BYTES in record or digest) and digest != digest_of(record):
        raise StageError(_bad_record(path, "is altered: it is not what was written"))
    return text


def _bad_record(path: Path, what: str) -> str:
    """The error message for a damaged record."""
    return (
        f"{path} {what}. Restore it from a backup; or, where {path.parent.name} is not released, "
        f"delete {path.parent} and run the same command again."
    )
