"""What a user is told where the operating system refuses a file."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import StageError, reason

WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that only a write has: a full disk or quota, a limit of size, a read-only file system."""


def refused(what: str, error: OSError, place: Path | None = None) -> StageError:
    """The error for a file that the operating system refused.

    what   what was to be made; empty where that is not known
    place  where, if `error` names no file

    Most errors of the system do not say whether the file was to be read or written.
    """
    verb = "write" if error.errno in WRITE_ERRORS else "read or write"
    return StageError(
        f"{what}{': ' if what else ''}cannot {verb} {error.filename or place or 'a file'}: "
        f"{reason(error)}. What was finished is kept; mend this and run the same command again."
    )


@contextmanager
def written(what: str) -> Iterator[None]:
    """A block, or as a decorator a function, that writes into a workspace. Raises StageError, one
    line, where the operating system refuses: a read-only or full file system, missing rights, a
    file that cannot be read."""
    try:
        yield
    except OSError as error:
        raise refused(what, error) from error
