"""Whether a path is a regular file: the only kind that ends, and that two readers see alike.

A pipe gives its bytes once and only while somebody writes; a device such as /dev/zero never ends;
opening either may wait for ever.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""Type bits of a file's mode -> what the file is."""


def require_regular(path: Path) -> None:
    """Raises OSError (EINVAL) for a pipe, a socket or a device. Other paths are left to whoever
    opens them, who learns that there is nothing, or a directory."""
    what = irregular(path)
    if what in {"a pipe", "a socket", "a device"}:
        raise OSError(errno.EINVAL, f"it is {what}, and only regular files are read", str(path))


def irregular(path: Path) -> str | None:
    """What a path is in place of a regular file, such as `a pipe`: links are followed. None for a
    regular file and for a path at which nothing is."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return "a link that leads nowhere" if path.is_symlink() else None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")
