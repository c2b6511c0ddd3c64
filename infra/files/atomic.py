"""Files that exist whole or not at all: written under a temporary name, then renamed."""

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
"""Rows in one row group of a Parquet file."""


def _temporary_path(path: Path) -> Path:
    """A hidden, unique name in the same directory as `path`."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same directory, then rename that file to `path`.

    Readers see the whole file or none. Missing parent directories are made. What `write` raises is
    raised here, and the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path)
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_table(
    path: Path,
    table: pa.Table,
    *,
    rows_per_group: int = ROWS_PER_GROUP,
    distinct: Collection[str] = (),
) -> None:
    """Write a Parquet file (zstd) atomically.

    rows_per_group  rows in one row group; a reader may skip whole groups
    distinct        columns whose values are mostly different: stored without a dictionary, they are
                    read in a fifth of the time
    """
    options: dict[str, Any] = {"compression": "zstd", "row_group_size": rows_per_group}
    if distinct:
        repeated = [name for name in table.column_names if name not in distinct]
        options["use_dictionary"] = repeated
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, **options))


def link_or_copy(source: Path | str, target: Path | str) -> None:
    """Make `target` a hard link to `source`, or a copy where the file system allows no link.

    An existing target is removed first, so that a file it shared with others is not overwritten. A
    source that is a symbolic link is followed. Raises OSError where `source` cannot be read.
    """
    source, target = Path(source), Path(target)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


class LockHeld(Exception):
    """Another process holds the lock file."""


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file while the block runs, and remove it afterwards.

    The lock ends with the process, also when it is killed. Raises LockHeld where another process
    holds it. On a file system without locks nothing is locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        except FileNotFoundError:
            pass  # its holder has just removed it
        except BlockingIOError:
            os.close(descriptor)
            raise LockHeld(path) from None
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
    """Write an indented JSON file with sorted keys atomically.

    Raises ValueError for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def put_if_absent(path: Path, text: str) -> bool:
    """Create a file with this content unless the file exists; whether it was created.

    The test and the creation are one step, so of several processes exactly one creates the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path)
    temporary.write_text(text, encoding="utf-8")
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True
