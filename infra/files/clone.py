"""Copies of files that share no inode with the original, without writing where possible."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from infra.files.atomic import Flush, write_atomic

FICLONE = 0x40049409
"""Request of ioctl_ficlone(2): the copy shares the original's blocks until either is written."""
COPY_BYTES = 1 << 30
"""Bytes that the kernel is asked to copy at a time."""


def clone(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all, with the rights of a new file.

    A reflink where the file system has them (Btrfs, XFS, bcachefs), else a copy by the kernel,
    which some file systems make on the server, else an ordinary one. The copy is not flushed.
    Raises OSError.
    """
    write_atomic(target, lambda temporary: _copy(source.resolve(), temporary), flush=Flush.NOTHING)


def takes_no_room(source: Path, directory: Path) -> bool:
    """Whether a clone of a file takes no room in a directory, which is tried out. False where the
    directory cannot be written."""
    target = directory / f".{source.name}.{os.getpid()}.tmp"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return _reflink(source, target)
    except OSError:
        return False
    finally:
        target.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a file by the first way that works."""
    if not _reflink(source, target) and not _by_kernel(source, target):
        shutil.copyfile(source, target)


def _reflink(source: Path, target: Path) -> bool:
    """Clone a file; whether the file system can."""
    with source.open("rb") as read, target.open("wb") as written:
        try:
            fcntl.ioctl(written.fileno(), FICLONE, read.fileno())
        except OSError:
            return False
    return True


def _by_kernel(source: Path, target: Path) -> bool:
    """Copy a file by copy_file_range(2); whether the kernel can between these two."""
    with source.open("rb") as read, target.open("wb") as written:
        left = os.fstat(read.fileno()).st_size
        try:
            while left:
                copied = os.copy_file_range(read.fileno(), written.fileno(), min(left, COPY_BYTES))
                if not copied:
                    return False
                left -= copied
        except OSError:
            return False
    return True
