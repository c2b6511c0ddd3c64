"""An unfinished output: the directory in which a stage writes, and the digests of its files.

It holds the fingerprint of what is being made, so that an interrupted run of the same fingerprint
goes on with its files.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.errors import StageError
from infra.files.atomic import make_directory, write_json
from infra.files.digest import content_digest, digest_of
from infra.storage.integrity import BYTES, RECORD, bytes_of, read_record
from infra.storage.removal import FINGERPRINT, remove_unfinished
from infra.storage.stage_dir import PROGRESS, SHARDS, StageDir


def unnamed_record(partial: Path, key: str) -> dict[str, Any] | None:
    """The record of an output that was finished when the process ended, but not renamed yet; None
    where there is none of this fingerprint.

    key  the fingerprint
    """
    try:
        record = read_record(partial)
    except (FileNotFoundError, NotADirectoryError, StageError):
        return None
    return record if record["fingerprint"] == key else None


def make_output(
    partial: Path,
    key: str,
    body: Callable[[StageDir], Mapping[str, Any]],
    volatile: Sequence[str],
) -> dict[str, Any]:
    """Write the files of an output, and return the part of its record about them: digests, counts,
    duration.

    key       the fingerprint
    body      writes the files, and returns counts
    volatile  names of files that the digest leaves out

    Raises StageError where something else has the directory's name, OSError, and what `body`
    raises.
    """
    started = time.monotonic()
    _open_partial(partial, key)
    out = StageDir(partial)
    counts = dict(body(out))
    shutil.rmtree(partial / SHARDS, ignore_errors=True)
    (partial / PROGRESS).unlink(missing_ok=True)
    paths = {
        name: path
        for path in sorted(partial.rglob("*"))
        if path.is_file()
        and (name := path.relative_to(partial).as_posix()) not in (FINGERPRINT, RECORD)
    }
    sizes = {name: out.bytes.get(name) or bytes_of(path) for name, path in paths.items()}
    files = {
        name: out.digests.get(name)
        or (content_digest(path) if path.suffix == ".parquet" else sizes[name]["sha256"])
        for name, path in paths.items()
    }
    return {
        "digest": digest_of({k: v for k, v in files.items() if k not in volatile}),
        "files": files,
        BYTES: sizes,
        "counts": counts,
        "duration_s": round(time.monotonic() - started, 3),
    }


def _open_partial(partial: Path, key: str) -> None:
    """Make the directory of an unfinished output, unless an interrupted run with the same
    fingerprint left it; leftovers of another fingerprint are removed."""
    marker = partial / FINGERPRINT
    if _fingerprint_in(marker) == key:
        for unfinished in partial.rglob(".*.tmp"):  # files of a process killed during a write
            unfinished.unlink()
        return
    remove_unfinished(partial)
    make_directory(partial)
    write_json(marker, key)


def _fingerprint_in(marker: Path) -> str | None:
    """The fingerprint in an unfinished output; None where there is none that can be read."""
    try:
        return json.loads(marker.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
