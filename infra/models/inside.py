"""Read a file of a model directory only where it is a regular file that belongs to the directory.

Anybody may have packed the directory. A link out of it would make a file of this machine part of a
release, and a pipe or a device would never end. The cache of the Hugging Face hub is made of links
(`models--OWNER--NAME/snapshots/REVISION/FILE` -> `../../blobs/DIGEST`), so links within the folder
of its model are followed.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from infra.errors import ModelError, reason
from infra.files.regular import irregular

MAX_JSON_BYTES = 256 * 2**20
"""Bytes of the largest JSON file that is read here. The index of a model of 10^12 parameters with
10^5 tensors has 10 MB."""


def is_there(path: Path, name: str) -> bool:
    """Whether the directory has a file of this name.

    Raises ModelError for a path that is there and is no regular file of the directory.
    """
    file = path / name
    try:
        if not os.path.lexists(file):
            return False
    except ValueError:  # a NUL in the name
        return False
    what = irregular(file)
    if what is not None:
        raise ModelError(
            f"model {path}: {name} is {what}, and a model is made of regular files. Copy the file "
            "itself there."
        )
    home, target = _home(path), file.resolve()
    if not target.is_relative_to(home):
        raise ModelError(
            f"model {path}: {name} is a link to {target}, outside the directory. Copy the file "
            "itself there."
        )
    return True


def require_no_pipes(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raises ModelError where a name with one of the suffixes is a pipe, a socket or a device: a
    loader that opens it may wait for ever. Also where the directory cannot be listed."""
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if entry.name.lower().endswith(suffixes)]
            kinds = {entry.name: _mode(entry) for entry in found}
    except OSError as error:
        raise ModelError(f"model {path} cannot be read ({reason(error)}).") from None
    for name, mode in kinds.items():
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or mode == 0):
            raise ModelError(
                f"model {path}: {name} is {irregular(path / name)}, and a model is made of regular "
                "files. Take it out of the directory."
            )


def read_object(path: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file of the directory. Raises ModelError."""
    value: Any = None
    try:
        size = (path / name).stat().st_size
        if size > MAX_JSON_BYTES:
            why = f"it has {size} bytes, at most {MAX_JSON_BYTES} are read"
        else:
            value, why = json.loads((path / name).read_text(encoding="utf-8")), ""
    except (OSError, ValueError) as error:
        why = str(error)
    except RecursionError:
        why = "it is nested too deeply"
    if why:
        raise ModelError(
            f"model {path}: {name} cannot be read as JSON ({why}). Copy or download it again."
        )
    if not isinstance(value, dict):
        raise ModelError(
            f"model {path}: {name} is a JSON {type(value).__name__}, not an object. Copy or "
            "download it again."
        )
    return value


def _home(path: Path) -> Path:
    """The directory within which links may lead: the model's own or, in the hub's cache, the folder
    of the model."""
    real = path.resolve()
    inside = real.parent.name == "snapshots" and (real.parent.parent / "blobs").is_dir()
    return real.parent.parent if inside else real


def _mode(entry: os.DirEntry[str]) -> int:
    """The type of a directory's entry, links followed; 0 for a link that leads nowhere."""
    try:
        return entry.stat().st_mode
    except OSError:
        return 0
