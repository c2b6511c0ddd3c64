"""What a user is told where a file of a workspace cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import StageError, reason


def cannot_write(what: str, error: OSError, place: Path | None = None) -> StageError:
    """The error for a file that the operating system refused.

    what   what was to be written
    place  where, if `error` names no file
    """
    return StageError(
        f"{what}: cannot write {error.filename or place or 'a file'}: {reason(error)}. "
        "What was finished is kept; mend this and run the same command again."
    )


@contextmanager
def written(what: str) -> Iterator[None]:
    """A block, or as a decorator a function, that writes into a workspace. Raises StageError, one
    line, where the operating system refuses: a read-only or full file system, missing rights."""
    try:
        yield
    except OSError as error:
        raise cannot_write(what, error) from error
