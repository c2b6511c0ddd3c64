"""The workspace: a directory of stage outputs, which never change once they are finished.

    <workspace>/<stage>/<version>/            a finished output; record.json says what made it
    <workspace>/<stage>/<version>.partial/    an unfinished one; its finished shards are kept

A stage writes into the second directory, which is renamed to the first when all files are written.
The files are flushed to the disk before the record is written, and the record before the rename: an
output that has a record is whole, also after a power cut.

A workspace at `s3://BUCKET/PREFIX` is worked on through a directory that is its copy
(`infra.storage.bucket`); there an output is finished once its record is in the bucket.

The *fingerprint* of an output is a digest of everything that it depends on: stage, code version,
settings, digests of the inputs. Its *digest* is that of its files. An output that exists is not
computed again for the same fingerprint. Another fingerprint under the same version is refused, so
that a version never changes its meaning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from infra.errors import ConfigError, StageError, reason
from infra.files.atomic import (
    LockHeld,
    exclusive_lock,
    flush_directory,
    flush_tree,
    put_if_absent,
    remove_leftovers,
    write_json,
)
from infra.files.digest import canonical_json, digest_of
from infra.storage.artifact import Artifact
from infra.storage.bucket import Bucket
from infra.storage.differences import SCHEMA, conflict, differing_inputs
from infra.storage.integrity import RECORD, damage, read_record, sealed
from infra.storage.names import LOCK, PARTIAL, is_name, path_part
from infra.storage.object_store import SCHEME
from infra.storage.removal import FINGERPRINT, put_in_place, remove_replaced, remove_unfinished
from infra.storage.stage_dir import StageDir
from infra.storage.unfinished import make_output, unnamed_record
from infra.storage.writing import refused


@dataclass(frozen=True)
class Workspace:
    """A directory of stage outputs, given as a path, a `file://` URI or `s3://BUCKET/PREFIX`."""

    root: Path
    """The directory; of a bucket, its copy."""
    bucket: Bucket | None = field(default=None, compare=False)
    """The bucket that the directory is a copy of; None where it is none."""

    @property
    def address(self) -> str:
        """How a person names it: the directory, or the address of the bucket."""
        return self.bucket.store.uri if self.bucket else str(self.root)

    @classmethod
    def at(cls, uri: str) -> Workspace:
        """The workspace at a path or a URI; the copy of a bucket is brought up to date.

        Raises ConfigError for another scheme, and for a path that leads to or through a file;
        StageError for a bucket that cannot be reached.
        """
        try:
            parts = urlsplit(uri)
        except ValueError as error:
            raise ConfigError(f"workspace {uri!r}: {error}. Give a directory.") from None
        if parts.scheme == SCHEME:
            bucket = Bucket.at(uri)
            bucket.refresh()
            return cls(bucket.root, bucket)
        if parts.scheme not in ("", "file"):
            raise ConfigError(
                f"workspace {uri!r}: scheme {parts.scheme!r} is not supported. "
                "Give a directory, a file:// URI or s3://BUCKET/PREFIX."
            )
        given = Path(unquote(parts.path) if parts.scheme else uri)
        try:
            root = given.expanduser().absolute()
            with suppress(FileNotFoundError):
                root.stat()
            there = next(path for path in (root, *root.parents) if os.path.lexists(path))
            is_directory = there.is_dir()
        except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a NUL
            fault = reason(error).rstrip(".")
            raise ConfigError(f"workspace {uri!r}: {fault}. Give a directory.") from None
        if not is_directory:
            kind = "a link that leads to no directory" if there.is_symlink() else "a file"
            raise ConfigError(f"workspace {uri!r}: {there} is {kind}. Give a directory.")
        return cls(root)

    def directory(self, stage: str, version: str) -> Path:
        """The directory of a stage's output of a version, whether or not it exists: always one
        below the stage's, which is one below the workspace. Raises StageError for other names."""
        return self.root / path_part(stage) / path_part(version)

    def partial(self, stage: str, version: str) -> Path:
        """The directory of an unfinished output, whether or not it exists; otherwise as
        `directory`."""
        final = self.directory(stage, version)
        return final.with_name(final.name + PARTIAL)

    def find(self, stage: str, version: str) -> Artifact | None:
        """The finished output of a stage and version, or None. Raises StageError where its record
        is damaged."""
        path = self.directory(stage, version)
        try:
            return Artifact(path, read_record(path), bucket=self.bucket)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def versions(self, stage: str) -> list[str]:
        """Versions of a stage's finished outputs, sorted. Directories with other names than a
        version has, such as copies of a program that synchronises files, do not count."""
        found = (record.parent.name for record in (self.root / stage).glob(f"*/{RECORD}"))
        return sorted(filter(is_name, found))

    def remove_leftovers(self) -> None:
        """Remove what killed processes left beside the outputs: temporary files that are old. In an
        unfinished output they are removed when its stage goes on."""
        for name in ("aliases", "ledger", "cache"):
            remove_leftovers(self.root / name)
        remove_leftovers(self.root, deep=False)

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
        outdated: Callable[[Artifact, Collection[str]], bool] | None = None,
        fixed_by: tuple[str, str] | None = None,
        restart: bool = False,
        remake: Callable[[str], object] | None = None,
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
        outdated   given such an output and the names of the inputs that differ: whether it is
                   discarded although `replace` is false
        fixed_by   stage and version of an output for which this one was used: once it is finished,
                   nothing is discarded
        restart    discard the files of an interrupted run
        remake     called with a line before a damaged output is made anew, which must give the same
                   content; without it, a damaged output is an error. With it, contents of finished
                   files are read; otherwise only their sizes and headers
        stamp      additions to the record that are not part of the fingerprint (commit, hardware)
        volatile   names of files that the digest leaves out, because they hold times or the like

        Raises StageError where another process makes the same output, a file cannot be written or a
        finished one is damaged, and what `body` raises.
        """
        fingerprint = {"stage": stage, "code": code, "inputs": dict(made_from)}
        key = digest_of(fingerprint)
        written_down = {**fingerprint, "inputs": dict(made_from if written is None else written)}
        final = self.directory(stage, version)
        partial = self.partial(stage, version)
        damaged: list[str] = []  # digest of a finished output that is damaged
        seen: str | None = None  # tag of the record in the bucket

        def reused() -> Artifact | None:
            """The finished output with this fingerprint; None where it is to be made. Raises
            StageError for another one, or a damaged one, that may not be discarded."""
            nonlocal seen
            if self.bucket is not None:
                seen = self.bucket.refresh_output(stage, version)
                if fixed_by is not None:
                    self.bucket.refresh_output(*fixed_by)
            found = self.find(stage, version)
            if found is None:
                return None
            if found.record["fingerprint"] == key:
                fault = next(found.faults(up_to=None if remake else 0), None)
                if fault is None:
                    return found
                if remake is None:
                    raise StageError(damage(fault))
                if not damaged:
                    remake(f"{fault}; this output is made anew")
                    damaged.append(found.digest)
                return None
            differing = differing_inputs(found.record, written_down)
            if fixed_by is not None and self.directory(*fixed_by).exists():
                raise StageError(conflict(final, found.record, written_down))
            if not replace and not (outdated and outdated(found, differing)):
                raise StageError(conflict(final, found.record, written_down))
            return None

        if found := reused():
            return found
        about = {
            "schema": SCHEMA,
            "stage": stage,
            "version": version,
            "fingerprint": key,
            "made_from": json.loads(canonical_json(written_down)),
        }
        try:
            with exclusive_lock(self._lock(stage, version)):
                if found := reused():  # another process has finished it meanwhile
                    return found
                remove_replaced(final)
                if restart:
                    remove_unfinished(partial)
                    if self.bucket is not None:
                        self.bucket.forget_unfinished(stage, version)
                if (record := unnamed_record(partial, key)) is None:
                    work = body
                    if self.bucket is not None:
                        work = self.bucket.uploading(stage, partial, key, body)
                    made = make_output(partial, key, work, volatile)
                    record = sealed({**about, **made, **(stamp or {}), **self._epoch()})
                    if damaged and not replace and damaged[0] != record["digest"]:
                        raise StageError(_differs(final))
                    flush_tree(partial)
                    write_json(partial / RECORD, record)
                (partial / FINGERPRINT).unlink(missing_ok=True)
                flush_directory(partial)  # else a power cut may bring that file back
                with self._while_unfinished(fixed_by if final.exists() else None):
                    theirs = reused()  # raises where it may no longer be discarded
                    if self.bucket is not None:
                        seen = seen if theirs is None else None
                        self.bucket.commit(stage, version, partial, record, seen)
                    put_in_place(partial, final, replace=True)
        except LockHeld as error:
            held = Path(error.args[0])
            raise StageError(
                f"{held.parent.name} {held.name.removeprefix('.').removesuffix(LOCK)}: another "
                f"process is making it in {self.root}. Wait until it "
                "has ended, or give another --workspace."
            ) from None
        except OSError as error:
            raise refused(f"{stage} {version}", error, partial) from error
        return Artifact(final, record, made_now=True, bucket=self.bucket)

    def create(self, path: Path, text: str) -> bool:
        """Create a file of a log unless it exists; whether it was created. Of several processes,
        also on several machines, exactly one creates it."""
        return self.bucket.create(path, text) if self.bucket else put_if_absent(path, text)

    def publish(self, path: Path) -> None:
        """Upload a file beside the outputs that was written, where the directory is a copy."""
        if self.bucket is not None:
            self.bucket.publish(path)

    @contextmanager
    def sole_run(self, line: str) -> Iterator[None]:
        """Keep other runs of a line away while a block runs: each builds on the release before.

        Raises StageError where another process runs one.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive_lock(self.root / f".{line}{LOCK}"))
            except LockHeld:
                raise StageError(
                    f"line {line}: another run makes an edition of it in {self.address}. Wait "
                    "until that has ended; one of a schedule that overlaps itself has to take "
                    "less time."
                ) from None
            except OSError as error:
                raise refused(f"line {line}", error, self.root) from error
            if self.bucket is not None:
                stack.enter_context(self.bucket.sole_run(line))
            yield

    def _epoch(self) -> dict[str, int]:
        """For a record in a bucket: the epoch of the lease that this run has."""
        lease = self.bucket and self.bucket.lease
        return {"epoch": lease.epoch} if lease else {}

    def _while_unfinished(self, output: tuple[str, str] | None) -> AbstractContextManager[None]:
        """Keep other processes from finishing an output while a block runs; None is no output.
        Raises LockHeld where one is making it."""
        return exclusive_lock(self._lock(*output)) if output else nullcontext()

    def _lock(self, stage: str, version: str) -> Path:
        """The lock file of whoever makes an output."""
        return self.root / stage / f".{version}{LOCK}"


def _differs(path: Path) -> str:
    """The error message for a damaged output that comes out differently when made anew."""
    return (
        f"{path} is damaged, and made anew it holds something else: a source, a library or the "
        "machine has changed. Restore it from a backup, or pass --replace to go on with the new "
        "one."
    )
