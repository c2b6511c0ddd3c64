"""Files that are there whole or not at all: written beside their place, then put there at once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 1 << 16


def _beside(path: Path) -> Path:
    """A hidden name in the same directory that no other writer has."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a name beside `path`, then rename: readers see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_table(
    path: Path,
    table: pa.Table,
    *,
    rows_per_group: int = ROWS_PER_GROUP,
    distinct: Collection[str] = (),
) -> None:
    """A Parquet file (zstd), atomically, in row groups that a reader may pass over.

    distinct  columns whose values are mostly different: without a dictionary they are read in a
              fifth of the time
    """
    options: dict[str, Any] = {"compression": "zstd", "row_group_size": rows_per_group}
    if distinct:
        repeated = [name for name in table.column_names if name not in distinct]
        options["use_dictionary"] = repeated
    write_atomic(path, lambda beside: pq.write_table(table, beside, **options))


def link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class InUse(Exception):
    """Another process holds a lock."""


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock file while the block runs; it is gone afterwards, and lapses with the process.

    Raises InUse where another process holds it. Where a file system has no locks, nobody is kept
    out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        except FileNotFoundError:
            pass  # its holder has just taken it away
        except BlockingIOError:
            os.close(descriptor)
            raise InUse(path) from None
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                break
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """An indented JSON file with sorted keys, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def put_if_absent(path: Path, text: str) -> bool:
    """Create a file with this content unless it exists; the test and the creation are one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    beside.write_text(text, encoding="utf-8")
    try:
        os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink()
    return True
