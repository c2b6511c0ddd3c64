"""Where stages keep their output: written beside, renamed when whole, never changed afterwards.

    <workspace>/<stage>/<version>/            a finished output; record.json says what made it
    <workspace>/<stage>/<version>.partial/    an unfinished one; its finished shards are kept

An output's *fingerprint* digests everything that went in (stage, code version, config, digests of
the inputs), its *digest* everything that came out. The same fingerprint is never computed twice,
and a different one under an old version is refused: a version means one thing for ever.
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
from infra.files.digest import canonical_json, digest_of, file_digest
from infra.storage.artifact import Artifact
from infra.storage.stage_dir import PROGRESS, SHARDS, StageDir

RECORD = "record.json"
FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True)
class Workspace:
    """A directory of stage outputs, given as a path or a `file://` URI."""

    root: Path

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
        """Where a stage's output of a version is, or will be."""
        return self.root / stage / version

    def find(self, stage: str, version: str) -> Artifact | None:
        """The finished output, or None."""
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
        body: Callable[[StageDir], Mapping[str, Any]],
        replace: bool = False,
        restart: bool = False,
        stamp: Mapping[str, Any] | None = None,
        volatile: Sequence[str] = (),
    ) -> Artifact:
        """Make an output, or return the one that is there.

        code      counts up when the stage's code changes what it makes of the same input
        made_from JSON values of all that the output depends on, by name: settings, and digests of
                  inputs (`infra.storage.identity`)
        body      fills the directory and returns counts for the record; when it is called again
                  after an interruption it finds the files that were finished
        replace   discard an output made from other inputs instead of refusing
        restart   discard what an unfinished one of this fingerprint has finished
        stamp     additions to the record that are no part of its identity (commit, hardware)
        volatile  files left out of the digest, being times and the like
        """
        fingerprint = {"stage": stage, "code": code, "inputs": dict(made_from)}
        key = digest_of(fingerprint)
        final = self.directory(stage, version)
        found = self.find(stage, version)
        if found and found.record["fingerprint"] == key:
            return found
        if found and not replace:
            raise StageError(_conflict(final, found.record, fingerprint))
        partial = final.with_name(final.name + ".partial")
        about = {
            "schema": 1,
            "stage": stage,
            "version": version,
            "fingerprint": key,
            "made_from": json.loads(canonical_json(fingerprint)),
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
    """Make the content of an output; what its record says of it."""
    started = time.monotonic()
    _open_partial(partial, key)
    out = StageDir(partial)
    counts = dict(body(out))
    shutil.rmtree(partial / SHARDS, ignore_errors=True)
    (partial / FINGERPRINT).unlink()
    (partial / PROGRESS).unlink(missing_ok=True)
    files = {
        name: out.digests.get(name) or file_digest(path)
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
    """The unfinished directory of this very fingerprint, or a new one."""
    marker = partial / FINGERPRINT
    if marker.exists() and json.loads(marker.read_text()) == key:
        for unfinished in partial.rglob(".*.tmp"):  # of a process that was killed while it wrote
            unfinished.unlink()
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_json(marker, key)


def _conflict(path: Path, record: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What differs between a finished output and the one asked for under its version."""
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
    """What an output was made from, by the names of the inputs, and the code's version."""
    return {"code": made_from["code"], **made_from["inputs"]}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {
            k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()
        }
    return {prefix.rstrip("."): value}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
