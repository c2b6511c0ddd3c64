"""Files that exist whole or not at all: written under a temporary name, then renamed.

A rename alone does not survive a power cut, nor does the content before it: file systems write
both later, in any order. `Flush` says how much is written to the disk before a function returns.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 1 << 16
"""Rows in one row group of a Parquet file."""


LEFTOVER_S = 3600.0
"""Seconds of age above which a temporary file is taken for one whose writer has ended."""
NOT_OFFERED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EISDIR)
"""Errors of a file system that cannot flush directories."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES)
"""Errors of a file system without hard links."""


class Flush(Enum):
    """What survives a power cut right after a write."""

    NOTHING = "nothing"
    """Nothing: for what is flushed later (`flush_tree`), or is checked when read and can be made
    again."""
    CONTENT = "content"
    """The content: under the name is the whole file, or none."""
    NAME = "name"
    """Content and name: the whole file is there."""


def _temporary_path(path: Path) -> Path:
    """A hidden, unique name in the same directory as `path`."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def write_atomic(path: Path, write: Callable[[Path], object], *, flush: Flush = Flush.NAME) -> None:
    """Call `write` with a temporary path in the same directory, then rename that file to `path`.

    Readers see the whole file or none. Missing parent directories are made. What `write` raises is
    raised here, and the temporary file is removed; an OSError names `path`.
    """
    make_directory(path.parent, flush=flush)
    temporary = _temporary_path(path)
    try:
        with _named(temporary, path):
            write(temporary)
            if flush is not Flush.NOTHING:
                flush_file(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if flush is Flush.NAME:
        flush_directory(path.parent)


@contextmanager
def _named(temporary: Path, path: Path) -> Iterator[None]:
    """A block that writes a temporary file: errors of the system that name that one, or none, name
    the file that was to be written."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, temporary, str(temporary)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def make_directory(path: Path, *, flush: Flush = Flush.NAME) -> None:
    """Make a directory and its missing parents, unless it exists. Raises OSError."""
    if path.is_dir():
        return
    if path.parent != path:
        make_directory(path.parent, flush=flush)
    path.mkdir(exist_ok=True)
    if flush is Flush.NAME:
        flush_directory(path.parent)


def flush_file(path: Path) -> None:
    """Write a file's content to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def flush_directory(path: Path) -> None:
    """Write the names in a directory to the disk, where the file system can. Raises OSError."""
    try:
        flush_file(path)
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise


def flush_tree(root: Path) -> None:
    """Write all files and directories below a directory, and its own names, to the disk. Raises
    OSError."""
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            flush_file(Path(directory, name))
        flush_directory(Path(directory))


def remove_leftovers(root: Path, *, deep: bool = True) -> None:
    """Remove the temporary files and directories in a directory that killed processes left, if they
    are old.

    deep  whether in the directories below too

    Their age is exact only where this machine's clock agrees with the file system's.
    """
    for path in [*(root.rglob if deep else root.glob)(".*.tmp")]:
        try:
            if time.time() - path.lstat().st_mtime < LEFTOVER_S:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:
            continue  # its writer has just renamed it, or it is another user's


def write_table(
    path: Path,
    table: pa.Table,
    *,
    rows_per_group: int = ROWS_PER_GROUP,
    distinct: Collection[str] = (),
    flush: Flush = Flush.NAME,
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
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, **options), flush=flush)


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
    make_directory(path.parent)
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


def write_json(path: Path, value: Any, *, flush: Flush = Flush.NAME) -> None:
    """Write an indented JSON file with sorted keys atomically.

    Raises ValueError for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, flush=flush)


def write_text(path: Path, text: str, *, flush: Flush = Flush.NAME) -> None:
    """Write a text file, UTF-8, atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), flush=flush)


def put_if_absent(path: Path, text: str) -> bool:
    """Create a file with this content unless the file exists; whether it was created.

    The test and the creation are one step, so of several processes exactly one creates the file.
    The file survives a power cut. On a file system without hard links the file is created empty
    first, which one process can do, and then replaced.
    """
    make_directory(path.parent)
    temporary = _temporary_path(path)
    try:
        with _named(temporary, path):
            temporary.write_text(text, encoding="utf-8")
            flush_file(temporary)
            created = _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_directory(path.parent)
    return created


def _link(temporary: Path, path: Path) -> bool:
    """Give a file a second name, or another one; False where that name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        os.replace(temporary, path)
    return True
