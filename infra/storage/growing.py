"""A directory that grows while a run works, kept in object storage as it grows.

Every finished file has an object with its size and digest below the directory's folder, and its
content is among the contents. So what a machine had finished when it was lost is found by another.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import StageError
from infra.storage.contents import Contents, each
from infra.storage.integrity import RECORD, bytes_of
from infra.storage.removal import FINGERPRINT
from infra.storage.stage_dir import PROGRESS, WAITS

log = logging.getLogger(__name__)

PUSH_S = 5.0
"""Seconds between two looks at the directory: so much work is lost with a machine at most."""
APART = (FINGERPRINT, PROGRESS, RECORD, WAITS)
"""Files, and a folder, that are of one run and one machine."""


class GrowingCopy:
    """A directory of files that are each written whole, and its folder in object storage."""

    def __init__(
        self,
        contents: Contents,
        directory: Path,
        folder: str,
        *,
        may_push: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        folder    key of its folder
        may_push  asked before each push: whether this process may still write
        """
        self.contents, self.directory, self.folder = contents, directory, folder
        self.may_push = may_push
        self._known: dict[str, tuple[int, int]] = {}
        """Name of a file that the store has -> its size and time."""

    def pull(self, *, exactly: bool = False) -> None:
        """Download the files that the store has and the directory has not, or has otherwise.

        exactly  whether files that the store has not are removed: another machine has gone on
        """
        store = self.contents.store
        names = [key.removeprefix(f"{self.folder}/") for key in store.keys(self.folder)]
        if exactly:
            for name, path in self._files():
                if name not in names:
                    path.unlink(missing_ok=True)
        each(self._pull, names)

    def push(self) -> None:
        """Upload the files that are new, the oldest first, and note those that are gone."""
        found = []
        for name, path in self._files():
            try:
                about = path.stat()
            except FileNotFoundError:
                continue
            found.append((about.st_mtime_ns, about.st_size, name, path))
        for time_ns, size, name, path in sorted(found):
            if self._known.get(name) == (size, time_ns):
                continue
            try:
                known = bytes_of(path)
                self.contents.upload(path, known)
            except FileNotFoundError:
                continue  # the stage has just removed it
            self.contents.store.put(f"{self.folder}/{name}", json.dumps(known).encode())
            self._known[name] = (size, time_ns)
        gone = self._known.keys() - {name for _, _, name, _ in found}
        self.contents.store.delete([f"{self.folder}/{name}" for name in sorted(gone)])
        for name in gone:
            del self._known[name]

    @contextmanager
    def pushing(self, *, at_end: bool) -> Iterator[None]:
        """Push again and again while a block runs, and once more where it raises.

        at_end  whether also where it ends as it should
        """
        ended = threading.Event()
        thread = threading.Thread(target=self._push_until, args=(ended,), daemon=True)
        thread.start()
        last = True
        try:
            yield
            last = at_end
        finally:
            ended.set()
            thread.join()
            if last:
                self._try_push()

    def _push_until(self, ended: threading.Event) -> None:
        while not ended.wait(PUSH_S):
            self._try_push()

    def _try_push(self) -> None:
        """Push, if this process may; a store that cannot be reached is tried again later."""
        if not self.may_push():
            return
        try:
            self.push()
        except (StageError, OSError) as error:
            log.warning("what is finished in %s is not uploaded yet: %s", self.directory, error)

    def _files(self) -> list[tuple[str, Path]]:
        """Names and paths of the finished files in the directory."""
        found = []
        for place, folders, names in os.walk(self.directory):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = (Path(place, name) for name in names if not name.startswith("."))
            found += [(path.relative_to(self.directory).as_posix(), path) for path in paths]
        return [(n, p) for n, p in found if n not in APART and not n.startswith(f"{WAITS}/")]

    def _pull(self, name: str) -> None:
        """Download one file, unless it is here."""
        path = self.directory / name
        found = self.contents.store.read(f"{self.folder}/{name}")
        if found is None or not path.resolve().is_relative_to(self.directory.resolve()):
            return
        known = json.loads(found.data)
        if not path.is_file() or bytes_of(path) != known:
            self.contents.download(path, known)
        about = path.stat()
        self._known[name] = (about.st_size, about.st_mtime_ns)
