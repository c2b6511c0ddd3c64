"""Removal of unfinished and replaced outputs. Nothing else in a workspace is ever removed.

A directory is removed only where a file in it says that it is the output of this stage and version:
its fingerprint or its record. A symbolic link is never followed by a removal.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from pathlib import Path

from infra.errors import StageError
from infra.files.atomic import flush_directory
from infra.storage.integrity import RECORD
from infra.storage.names import PARTIAL, TEMPORARY

FINGERPRINT = "fingerprint.json"
"""File with the fingerprint of an unfinished output, removed when it is finished."""


def remove_unfinished(partial: Path) -> None:
    """Remove the directory of an unfinished output, if there is one.

    An interrupted removal is finished by the next: the directory keeps what shows that it is an
    unfinished output until it has another name. Raises StageError for anything else under its name,
    and OSError where it cannot be removed.
    """
    remove_replaced(partial)
    if not os.path.lexists(partial):
        return
    version = partial.name.removesuffix(PARTIAL)
    empty = partial.is_dir() and not any(_content(partial))
    if partial.is_symlink() or not (empty or _is_unfinished(partial, version)):
        raise StageError(
            f"{partial} is in the way of an unfinished output, and is none: neither {FINGERPRINT} "
            f"nor a {RECORD} of {version} is in it. Move it elsewhere and run again."
        )
    _remove(partial)


def put_in_place(partial: Path, final: Path, *, replace: bool) -> None:
    """Give a finished output its name, so that it survives a power cut.

    replace  whether an earlier output of that name is removed

    Raises StageError where something has the name that may not be removed, and OSError.
    """
    if not os.path.lexists(final) or (_is_directory(final) and not any(_content(final))):
        os.rename(partial, final)
        flush_directory(final.parent)
        return
    if not _is_directory(final) or _version_of(final) != final.name:
        raise StageError(
            f"{final} is in the way of an output, and is none: it has no {RECORD} of {final.name}. "
            "Restore that file from a backup, or move the directory elsewhere, and run again."
        )
    if not replace:
        raise StageError(f"{final} was finished by another process meanwhile. Run again.")
    aside = _aside(final)
    os.rename(final, aside)
    os.rename(partial, final)
    flush_directory(final.parent)
    shutil.rmtree(aside)


def remove_replaced(path: Path) -> None:
    """Remove what interrupted removals of the directory `path` left beside it."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}{re.escape(TEMPORARY)}")
    for aside in path.parent.iterdir() if path.parent.is_dir() else ():
        if ours.fullmatch(aside.name) and _is_directory(aside):
            shutil.rmtree(aside)


def _remove(directory: Path) -> None:
    """Remove a directory; under its own name it exists whole or not at all."""
    aside = _aside(directory)
    os.rename(directory, aside)
    shutil.rmtree(aside)


def _aside(path: Path) -> Path:
    """A hidden, unique name in the same directory as `path`."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY}")


def _is_directory(path: Path) -> bool:
    """Whether a path is a directory itself, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def _content(directory: Path) -> list[Path]:
    """What is in a directory, but for files of writes that were interrupted."""
    return [
        path
        for path in directory.iterdir()
        if not (path.name.startswith(".") and path.name.endswith(TEMPORARY))
    ]


def _is_unfinished(directory: Path, version: str) -> bool:
    """Whether a directory is an output of this version that has not got its name yet."""
    return (directory / FINGERPRINT).is_file() or _version_of(directory) == version


def _version_of(directory: Path) -> str | None:
    """The version in an output's record; None where there is no record that can be read."""
    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record.get("version") if isinstance(record, dict) else None
