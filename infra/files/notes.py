"""Small JSON values in a cache, each with its digest: one that is cut or altered is as none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.files.atomic import Flush, write_json
from infra.files.digest import digest_of


def write_note(path: Path, value: Any) -> None:
    """Write a JSON value with its digest, atomically. It is not flushed, since the digest tells."""
    write_json(path, {"value": value, "sha256": digest_of(value)}, flush=Flush.NOTHING)


def read_note(path: Path) -> Any | None:
    """The value that `write_note` wrote; None where the file is missing, cut or altered."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return note["value"] if note["sha256"] == digest_of(note["value"]) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
