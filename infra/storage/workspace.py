"""The workspace: a directory of stage outputs, which never change once they are finished.

    <workspace>/<stage>/<version>/            a finished output; record.json says what made it
    <workspace>/<stage>/<version>.partial/    an unfinished one; its finished shards are kept

A stage writes into the second directory, which is renamed to the first when all files are written.
The *fingerprint* of an output is a digest of everything that it depends on: stage, code version,
settings, digests of the inputs. Its *digest* is that of its files. An output that exists is not
computed again for the same fingerprint. Another fingerprint under the same version is refused, so
that a version never changes its meaning.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from infra.errors import ConfigError, StageError
from infra.files.atomic import LockHeld, exclusive_lock, write_json
from infra.files.digest import canonical_json, content_digest, digest_of
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import PROGRESS, SHARDS, StageDir

RECORD = "record.json"
"""File that says what an output was made from, and its digests and counts."""
FINGERPRINT = "fingerprint.json"
SCHEMA = 2
"""Of a record: 1 had other fingerprints."""
"""File with the fingerprint of an unfinished output, removed when it is finished."""


@dataclass(frozen=True)
class Workspace:
    """A directory of stage outputs, given as a path or a `file://` URI."""

    root: Path
    """The directory."""

    @classmethod
    def at(cls, uri: str) -> Workspace:
        """The workspace at a path or a `file://` URI. Raises ConfigError for another scheme."""
        parts = urlsplit(uri)
        if parts.scheme not in ("", "file"):
            raise ConfigError(
                f"workspace {uri!r}: scheme {parts.scheme!r} is not supported. "
                "Give a directory or a file:// URI (a mount of the object store works)."
            )
        return cls(Path(unquote(parts.path) if parts.scheme else uri).expanduser().absolute())

    def directory(self, stage: str, version: str) -> Path:
        """The directory of a stage's output of a version, whether or not it exists."""
        return self.root / stage / version

    def find(self, stage: str, version: str) -> Artifact | None:
        """The finished output of a stage and version, or None. Raises StageError where its record
        is damaged."""
        path = self.directory(stage, version)
        try:
            return Artifact(path, json.loads((path / RECORD).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StageError(
                f"{path / RECORD} is not JSON ({error}). Delete {path} and run again."
            ) from error

    def versions(self, stage: str) -> list[str]:
        """Versions of a stage's finished outputs, sorted."""
        return sorted(record.parent.name for record in (self.root / stage).glob(f"*/{RECORD}"))

    def run_stage(
        self,
        stage: str,
        version: str,
        *,
        code: int,
        made_from: Mapping[str, Any],
        written: Mapping[str, Any] | None = None,
        body: Callable[[StageDir], Mapping[str, Any]],
        replace: bool = False,
        restart: bool = False,
        stamp: Mapping[str, Any] | None = None,
        volatile: Sequence[str] = (),
    ) -> Artifact:
        """Run a stage, or return its finished output if that has the same fingerprint.

        code       version of the stage's code; increased when the code gives another output for the
                   same inputs
        made_from  name -> JSON value, for everything that the output depends on: settings, and
                   digests of inputs (`infra.storage.identity`)
        written    the same as it is written into the record, without what may be a secret; None
                   where that is no other
        body       writes the files into the directory, and returns counts for the record. Called
                   again after an interruption, it finds the files that were finished
        replace    discard a finished output of this version with another fingerprint; otherwise it
                   raises StageError
        restart    discard the files of an interrupted run
        stamp      additions to the record that are not part of the fingerprint (commit, hardware)
        volatile   names of files that the digest leaves out, because they hold times or the like

        Raises StageError where another process makes the same output or a file cannot be written,
        and what `body` raises.
        """
        fingerprint = {"stage": stage, "code": code, "inputs": dict(made_from)}
        key = digest_of(fingerprint)
        written_down = {**fingerprint, "inputs": dict(made_from if written is None else written)}
        final = self.directory(stage, version)
        found = self.find(stage, version)
        if found and found.record["fingerprint"] == key:
            return found
        if found and not replace:
            raise StageError(_conflict(final, found.record, written_down))
        partial = final.with_name(final.name + ".partial")
        about = {
            "schema": SCHEMA,
            "stage": stage,
            "version": version,
            "fingerprint": key,
            "made_from": json.loads(canonical_json(written_down)),
        }
        try:
            with exclusive_lock(final.with_name(f".{final.name}.lock")):
                if restart:
                    shutil.rmtree(partial, ignore_errors=True)
                record = {**about, **_made(partial, key, body, volatile), **(stamp or {})}
                write_json(partial / RECORD, record)
                if final.exists():
                    shutil.rmtree(final)
                os.rename(partial, final)
        except LockHeld:
            raise StageError(
                f"{stage} {version}: another process is making it in {self.root}. Wait until it "
                "has ended, or give another --workspace."
            ) from None
        except OSError as error:
            raise StageError(
                f"{stage} {version}: cannot write {error.filename or partial}: {error.strerror}. "
                "What was finished is kept; mend this and run the same command again."
            ) from error
        return Artifact(final, record, made_now=True)


def _made(
    partial: Path,
    key: str,
    body: Callable[[StageDir], Mapping[str, Any]],
    volatile: Sequence[str],
) -> dict[str, Any]:
    """Write the files of an output, and return the part of its record about them: digests, counts,
    duration."""
    started = time.monotonic()
    _open_partial(partial, key)
    out = StageDir(partial)
    counts = dict(body(out))
    shutil.rmtree(partial / SHARDS, ignore_errors=True)
    (partial / FINGERPRINT).unlink()
    (partial / PROGRESS).unlink(missing_ok=True)
    files = {
        name: out.digests.get(name) or content_digest(path)
        for path in sorted(partial.rglob("*"))
        if path.is_file() and (name := path.relative_to(partial).as_posix())
    }
    return {
        "digest": digest_of({k: v for k, v in files.items() if k not in volatile}),
        "files": files,
        "counts": counts,
        "duration_s": round(time.monotonic() - started, 3),
    }


def _open_partial(partial: Path, key: str) -> None:
    """Make the directory of an unfinished output, unless an interrupted run with the same
    fingerprint left it; leftovers of another fingerprint are removed."""
    marker = partial / FINGERPRINT
    if marker.exists() and json.loads(marker.read_text()) == key:
        for unfinished in partial.rglob(".*.tmp"):  # files of a process killed during a write
            unfinished.unlink()
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_json(marker, key)


def _conflict(path: Path, record: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The error message for a finished output with another fingerprint; it names the inputs that
    differ."""
    if record["schema"] != SCHEMA:
        return (
            f"{path} was made by an earlier version of Corrigenda, which knew outputs by other "
            "fingerprints: it can be read and built on, but not found again. Leave finished "
            "editions out of the config and go on with a later one, or give another --workspace."
        )
    old = _flat(_inputs(record["made_from"]))
    new = _flat(_inputs(json.loads(canonical_json(wanted))))
    changed = [
        f"{key}: {_short(old.get(key))} -> {_short(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    shown = "; ".join(changed[:3]) + (f"; and {len(changed) - 3} more" if len(changed) > 3 else "")
    return (
        f"{path} was made from something else ({shown}). A version means one thing for ever: give "
        "the edition another version, or pass --replace to discard unreleased output of this one."
    )


def _inputs(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of an output by name, and the version of the code."""
    return {"code": made_from["code"], **made_from["inputs"]}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys joined by dots."""
    if isinstance(value, Mapping):
        return {
            k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()
        }
    return {prefix.rstrip("."): value}


def _short(value: Any) -> str:
    """A value as JSON of at most 40 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
