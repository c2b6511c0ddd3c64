"""A workspace in object storage, and the directory on this machine that is its copy.

    objects/                                       contents of files (`infra.storage.contents`)
    <stage>/<version>/record.json                  an output is finished when this object is there
    aliases/, ledger/, bases.json                  as in a directory
    unfinished/<stage>/<version>/<fingerprint>/    files of a stage that is at work
    cache/                                         what editing keeps for later editions
    leases/                                        who makes a line's editions

Objects have no rename, so an output is finished by one conditional write: its record, which names
its files by their digests, is created last, or replaces the one that this run has seen. The copy
follows the bucket. It has the records of all outputs; files come when they are needed, and are
checked. It may be deleted.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from infra.errors import StageError
from infra.files.atomic import Flush, put_if_absent, write_atomic
from infra.files.digest import digest_of
from infra.models.embedded import cache_directory
from infra.storage.contents import OBJECTS, Contents, each
from infra.storage.growing import GrowingCopy
from infra.storage.integrity import BYTES, RECORD
from infra.storage.lease import LEASES, Lease
from infra.storage.names import PARTIAL, TEMPORARY, is_path_part
from infra.storage.object_store import ObjectStore
from infra.storage.stage_dir import StageDir

UNFINISHED, CACHE = "unfinished", "cache"
LOGS = ("aliases", "ledger")
"""Folders whose files the copy has, all of them."""
APART = {OBJECTS, UNFINISHED, CACHE, LEASES, *LOGS}
"""Folders that are of no stage."""
BASES = "bases.json"
"""File that says where unedited models are."""
KEPT = ("cache/values", "cache/capacity")
"""Folders of the cache without which a later edition comes out another."""
COPY_ID = ".copy"
"""File with the id of a copy."""
SETTLED_S = 60.0
"""Age in seconds above which a file of a log that the bucket has not is removed: a younger one may
be newer than the list of the bucket's."""


class Bucket:
    """A workspace in object storage, and its copy on this machine. Picklable, without its lease."""

    def __init__(self, store: ObjectStore, root: Path) -> None:
        """
        root  directory of the copy; made where it is not there
        """
        self.store, self.root, self.contents = store, root, Contents(store)
        self.lease: Lease | None = None
        """The lease of the line that this process makes editions of."""
        put_if_absent(root / COPY_ID, uuid.uuid4().hex)
        self.copy_id = (root / COPY_ID).read_text(encoding="utf-8")
        """Tells this copy from those on other machines."""

    @classmethod
    def at(cls, uri: str) -> Bucket:
        """The workspace at `s3://BUCKET/PREFIX`, with its copy in the user's cache."""
        store = ObjectStore(uri)
        name = digest_of([store.uri, store.endpoint])[:16]
        return cls(store, cache_directory().absolute() / "workspaces" / name)

    def __reduce__(self) -> tuple[Callable[[ObjectStore, Path], Bucket], tuple[Any, ...]]:
        """Pickle it as its store and its directory."""
        return Bucket, (self.store, self.root)

    def refresh(self) -> None:
        """Bring the copy up to date: the logs of production, the ledger, and all records.

        Logs come first, so that none names a release that is not there.
        """
        for folder in LOGS:
            self._refresh_log(folder)
        self._mirror(BASES)
        keys = [key for s in {*self.store.folders()} - APART for key in self.store.keys(s)]
        here = [p.relative_to(self.root).as_posix() for p in self.root.glob(f"*/*/{RECORD}")]
        each(lambda output: self.refresh_output(*output), {*_outputs(keys), *_outputs(here)})

    def refresh_output(self, stage: str, version: str) -> str | None:
        """Bring the record of one output up to date; its tag, or None where there is none.

        Where the bucket has another output, or none, the one of the copy is removed.
        """
        found = self.store.read(f"{stage}/{version}/{RECORD}")
        final = self.root / stage / version
        try:
            here = (final / RECORD).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            here = None
        if here != (found and found.data):
            _remove(final)
            if found is not None:
                _write(final / RECORD, found.data)
        return found and found.tag

    def fetch(
        self, directory: Path, record: Mapping[str, Any], names: Iterable[str] | None = None
    ) -> None:
        """Download the files of an output that are not here, or not of their size.

        names  of the files that are wanted; None is all

        Raises StageError where the bucket has lost or altered one.
        """
        known = record[BYTES]
        wanted = known if names is None else names
        missing = [name for name in wanted if not _has(directory / name, known[name])]
        for name in missing:
            self._require_inside(directory / name)
        each(lambda name: self.contents.download(directory / name, known[name]), missing)

    def commit(
        self, stage: str, version: str, made: Path, record: Mapping[str, Any], seen: str | None
    ) -> None:
        """Upload the files of an output, and then its record, which finishes it.

        made  directory of the output, with its record
        seen  tag of the record that it replaces; None where there was none

        Raises StageError where the lease of this run has passed to another, and where another
        process has finished an output of this name meanwhile.
        """
        each(lambda item: self.contents.upload(made / item[0], item[1]), record[BYTES].items())
        if self.lease is not None:
            self.lease.confirm()
        key, text = f"{stage}/{version}/{RECORD}", (made / RECORD).read_bytes()
        if seen is None:
            tag = self.store.put_if_absent(key, text)
        else:
            tag = self.store.put_if_match(key, text, seen)
        if tag is None:
            raise StageError(
                f"{stage} {version}: another process has finished it in {self.store.uri} "
                "meanwhile. Run the same command again."
            )
        self.forget_unfinished(stage, version)

    def create(self, path: Path, text: str) -> bool:
        """Create a file of a log, in the bucket and here, unless the bucket has it: then the copy
        of the log is brought up to date, and the answer is False."""
        if self.store.put_if_absent(self._key(path), text.encode()) is None:
            self._refresh_log(self._key(path).split("/")[0])
            return False
        _write(path, text.encode())
        return True

    def publish(self, path: Path) -> None:
        """Upload a file of the copy under its own name."""
        self.store.put(self._key(path), path.read_bytes())

    @contextmanager
    def sole_run(self, line: str) -> Iterator[None]:
        """Hold the lease of a line while a block runs, and keep what editing finds of facts.

        Raises StageError where another process makes an edition of the line.
        """
        self.store.require_conditions()
        lease = Lease(self.store, line, copy=self.copy_id)
        with ExitStack() as stack:
            self.lease = stack.enter_context(lease.held())
            stack.callback(setattr, self, "lease", None)
            self.refresh()
            for folder in KEPT:
                kept = self._growing(self.root / folder, folder)
                kept.pull()
                stack.enter_context(kept.pushing(at_end=True))
            yield

    def uploading(
        self, stage: str, partial: Path, key: str, body: Callable[[StageDir], Mapping[str, Any]]
    ) -> Callable[[StageDir], Mapping[str, Any]]:
        """A stage's body that uploads the files of its unfinished output while it makes them, after
        a download of those that an interrupted run of the same fingerprint left elsewhere.

        partial  directory of the output
        key      the fingerprint
        """
        folder = f"{self._unfinished(stage, partial.name.removesuffix(PARTIAL))}/{key}"
        growing = self._growing(partial, f"{folder}/files")

        def work(out: StageDir) -> Mapping[str, Any]:
            last = self.store.read(f"{folder}/copy")
            if last is not None and last.data.decode() != self.copy_id:
                growing.pull(exactly=True)
            self.store.put(f"{folder}/copy", self.copy_id.encode())
            with growing.pushing(at_end=False):
                return body(out)

        return work

    def forget_unfinished(self, stage: str, version: str) -> None:
        """Remove what interrupted runs have left of an output."""
        self.store.delete(self.store.keys(self._unfinished(stage, version)))

    def _unfinished(self, stage: str, version: str) -> str:
        """The folder of an unfinished output."""
        return f"{UNFINISHED}/{stage}/{version}"

    def _growing(self, directory: Path, folder: str) -> GrowingCopy:
        """A directory that is uploaded as long as this run has its lease."""
        lease = self.lease
        return GrowingCopy(
            self.contents, directory, folder, may_push=lambda: lease is None or not lease.lost
        )

    def _refresh_log(self, folder: str) -> None:
        """Bring the files of a folder up to date. The heads of logs are read before their entries,
        as they are written after them."""
        listed = time.time()
        heads = {key for key in self.store.keys(folder) if key.endswith("/head.json")}
        each(self._mirror, heads)
        there = {*self.store.keys(folder)}
        each(self._mirror, there - heads)
        for path in [*(self.root / folder).rglob("*")]:
            lost = path.is_file() and self._key(path) not in heads | there
            if lost and path.stat().st_mtime < listed - SETTLED_S:
                path.unlink()

    def _mirror(self, key: str) -> None:
        """Make a file of the copy what the bucket has of this key."""
        path = self.root / key
        self._require_inside(path)
        found = self.store.read(key)
        if found is not None and not (path.is_file() and path.read_bytes() == found.data):
            _write(path, found.data)

    def _require_inside(self, path: Path) -> None:
        """Raise StageError for a name in the bucket that leads out of the copy."""
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise StageError(
                f"{self.store.uri} has a name that leads to {path}, outside of a workspace. Remove "
                "what was put there by something else."
            )

    def _key(self, path: Path) -> str:
        """The key of a file of the copy."""
        return path.relative_to(self.root).as_posix()


def _outputs(keys: Iterable[str]) -> set[tuple[str, str]]:
    """Stage and version of the finished outputs whose records are among some keys."""
    parts = (key.split("/") for key in keys)
    return {
        (part[0], part[1])
        for part in parts
        if len(part) == 3 and part[2] == RECORD and part[0] not in APART
        if is_path_part(part[0]) and is_path_part(part[1])
    }


def _has(path: Path, known: Mapping[str, Any]) -> bool:
    """Whether a file is there, of its size."""
    return path.is_file() and path.stat().st_size == known["size"]


def _write(path: Path, data: bytes) -> None:
    """Write a small file of the copy."""
    write_atomic(path, lambda temporary: temporary.write_bytes(data), flush=Flush.NOTHING)


def _remove(directory: Path) -> None:
    """Remove an output of the copy; under its own name it is whole or not there."""
    aside = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        os.rename(directory, aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside)
