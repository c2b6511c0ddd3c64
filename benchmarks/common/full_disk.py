"""A file system of a few megabytes that gets full at a moment of choice, in this process alone.

It is a tmpfs in a mount namespace of its own (mount_namespaces(7)), which ends with the process;
where users may not mount, in a user namespace too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common.file_history import OPERATIONS

SIZE_BYTES = 64 << 20
"""Room on the file system, several times what a small world takes."""
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
BY_CHANCE = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""The part of a temporary file's name that differs from run to run."""


def plain(operation: str) -> str:
    """An operation on files without what differs from run to run."""
    return BY_CHANCE.sub(".tmp", operation)


@dataclass
class SmallDisk:
    """A directory on a small file system. For a process that nobody needs afterwards: the mount and
    an audit hook stay in it."""

    place: Path
    """Where it is mounted: an empty directory. The workspace is a directory in it."""
    before: str
    """The operation (`plain`) at whose first time the file system gets full."""
    left_bytes: int
    """What is left of it then."""
    filled: bool = False
    """Whether that was so."""
    _waiting: bool = field(default=False, init=False)

    @property
    def workspace(self) -> Path:
        """The directory of the workspace."""
        return self.place / "workspace"

    def mount(self) -> None:
        """Mount it in this process alone. Raises OSError where that is not allowed."""
        mount(self.place, SIZE_BYTES)

    def wait(self) -> None:
        """Get full as soon as the operation is about to be done."""
        self._waiting = True
        sys.addaudithook(self._look)

    def free(self) -> None:
        """Have room again."""
        self._waiting = False
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.place / "ballast"

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._waiting or event not in OPERATIONS:
            return
        root = str(self.workspace)
        paths = [os.fsdecode(path) for path in arguments[:2] if isinstance(path, str | bytes)]
        inside = [os.path.relpath(path, root) for path in paths if path.startswith(f"{root}/")]
        if inside and plain(f"{event} {' '.join(inside)}") == self.before:
            self._waiting = False
            fill(self._ballast, self.left_bytes)
            self.filled = True


def mount(place: Path, size_bytes: int) -> None:
    """Mount a tmpfs for this process and those that it starts. The process has one thread. Raises
    OSError where that is not allowed."""
    library = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: Any) -> None:
        if getattr(library, name)(*arguments):
            code = ctypes.get_errno()
            raise OSError(code, f"{name}: {os.strerror(code)}")

    user, group = os.getuid(), os.getgid()
    call("unshare", CLONE_NEWNS | (CLONE_NEWUSER if user else 0))
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path("/proc/self", name).write_text(text)
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    options = f"size={size_bytes}".encode()
    call("mount", b"tmpfs", os.fsencode(place), b"tmpfs", 0, options)


def can_mount() -> bool:
    """Whether a process of this user may mount a file system, which is tried out in one."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            mount(Path("/mnt") if Path("/mnt").is_dir() else Path("/"), 1 << 20)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def fill(ballast: Path, left_bytes: int) -> None:
    """Write a file until its file system has no more than so many bytes left."""
    with ballast.open("wb", buffering=0) as file:
        piece = bytes(1 << 20)
        try:
            while True:
                file.write(piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        file.truncate(file.tell() - left_bytes)
