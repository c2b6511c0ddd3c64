"""The history of a directory tree while a program works in it: what stands on the disk at each
step, and how much of that is durable.

`Recorder` looks at the tree before each of the program's operations on files, and notes what is
flushed (fsync of a file: its content; of a directory: its names). `after_kill` gives the tree that
a killed program leaves at a step, `after_power_cut` that of a machine that lost its power.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPERATIONS = frozenset(
    {
        *("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"),
        *("os.chmod", "os.symlink", "os.utime"),
    }
)
"""Audit events of Python before an operation on files (docs.python.org, "Audit events table")."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
"""Flags of which one is set where a file is opened to be changed."""

Names = Mapping[str, int]
"""Names in a directory -> numbers of the files and directories that they lead to."""


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes and permissions of a file."""

    digest: str
    """Name of the file with these bytes in the recorder's store."""
    mode: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Directories and files by number; 0 is the root. Two names of one file have one number."""

    directories: Mapping[int, Names]
    files: Mapping[int, Content]


@dataclass(frozen=True, slots=True)
class Step:
    """The tree before one operation of the program."""

    operation: str
    """The operation that follows."""
    seen: Tree
    """What every process sees."""
    flushed: Tree
    """What has been flushed: a directory's names and a file's content as of its last fsync; nothing
    of what was never flushed."""


@dataclass
class Recorder:
    """Records the history of a tree in this process. One recorder a process, and one thread."""

    root: Path
    store: Path
    """Directory for the contents of all files at all times, outside of the root."""
    steps: list[Step] = field(default_factory=list)
    _active: bool = False
    _numbers: dict[int, int] = field(default_factory=dict)  # inode -> number
    _known: dict[int, tuple[tuple[int, int, int], Content]] = field(default_factory=dict)
    _flushed: Tree = field(default_factory=lambda: Tree({}, {}))
    _last: int = 0

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the block runs; the last step is the tree at its end."""
        sys.addaudithook(self._before)  # cannot be taken away; it does nothing when not active
        plain = os.fsync, os.fdatasync
        os.fsync, os.fdatasync = (self._flushing(flush) for flush in plain)
        self._note("begin")
        self._flushed = self.steps[-1].seen  # what was there before has been there for long
        try:
            yield
            self._note("end")
        finally:
            self._active = False
            os.fsync, os.fdatasync = plain

    def _before(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active or event not in OPERATIONS:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        paths = [os.fsdecode(path) for path in arguments[:2] if isinstance(path, str | bytes)]
        if not any(self._inside(path) for path in paths):
            return
        names = " ".join(os.path.relpath(path, self.root) for path in paths if self._inside(path))
        self._note(f"{event} {names}")

    def _inside(self, path: str) -> bool:
        return os.path.abspath(path).startswith(f"{self.root}{os.sep}")

    def _note(self, operation: str) -> None:
        self._active = False  # looking at the tree is no operation of the program
        try:
            step = Step(operation, self._look(), self._flushed)
            if not self.steps or (step.seen, step.flushed) != (
                self.steps[-1].seen,
                self.steps[-1].flushed,
            ):
                self.steps.append(step)
        finally:
            self._active = True

    def _flushing(self, flush: Callable[[int], None]) -> Callable[[Any], None]:
        """`os.fsync` or `os.fdatasync`, with a note of what it flushed."""

        def flushed(descriptor: Any) -> None:
            flush(descriptor)
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = os.readlink(f"/proc/self/fd/{number}")
            if not self._active or not (path == str(self.root) or self._inside(path)):
                return
            self._note(f"fsync {os.path.relpath(path, self.root)}")
            seen, old = self.steps[-1].seen, self._flushed
            known = self._numbers[os.fstat(number).st_ino]
            if known in seen.directories:
                names = {**old.directories, known: seen.directories[known]}
                self._flushed = Tree(names, old.files)
            elif known in seen.files:
                self._flushed = Tree(old.directories, {**old.files, known: seen.files[known]})

        return flushed

    def _look(self) -> Tree:
        """The tree as it stands. A file or directory keeps its number as long as it exists."""
        before, self._numbers = self._numbers, {}
        directories: dict[int, Names] = {}
        files: dict[int, Content] = {}

        def number_of(inode: int) -> int:
            if inode not in self._numbers:
                if (known := before.get(inode)) is None:
                    known, self._last = self._last, self._last + 1
                self._numbers[inode] = known
            return self._numbers[inode]

        def walk(path: str, inode: int) -> None:
            names: dict[str, int] = {}
            directories[number_of(inode)] = names
            with os.scandir(path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                names[entry.name] = number = number_of(about.st_ino)
                if stat.S_ISDIR(about.st_mode):
                    walk(entry.path, about.st_ino)
                elif number not in files:
                    files[number] = self._content(number, entry.path, about)

        walk(str(self.root), os.stat(self.root).st_ino)
        return Tree(directories, files)

    def _content(self, number: int, path: str, about: os.stat_result) -> Content:
        """The content of a file, kept in the store."""
        state = about.st_size, about.st_mtime_ns, about.st_ctime_ns
        if number in self._known and self._known[number][0] == state:
            return self._known[number][1]
        content = Path(path).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if not (kept := self.store / digest).exists():
            kept.write_bytes(content)
        self._known[number] = state, Content(digest, stat.S_IMODE(about.st_mode))
        return self._known[number][1]


def after_kill(step: Step) -> Tree:
    """What a program leaves that is killed by a signal: everything that it had done."""
    return step.seen


def after_power_cut(step: Step, *, names: bool, contents: bool) -> Tree:
    """What a power cut leaves; all unflushed names, and all unflushed contents, survived or not.

    A file whose content was never flushed, and whose name is there, is empty. (ext4 keeps the names
    and loses the contents: its delayed allocation.)
    """
    return _cut(step, lambda: names, lambda: contents)


def after_reordering(step: Step, seed: int) -> Tree:
    """What a power cut leaves where each unflushed name and content survived or not by chance.

    A disk may write in any order.
    """
    chance = random.Random(seed)
    return _cut(step, lambda: chance.random() < 0.5, lambda: chance.random() < 0.5)


def _cut(step: Step, name_survives: Callable[[], bool], written: Callable[[], bool]) -> Tree:
    seen, flushed = step.seen, step.flushed
    directories: dict[int, Names] = {}
    files: dict[int, Content] = {}
    empty = hashlib.sha256(b"").hexdigest()

    def names_of(number: int) -> dict[str, int]:
        new, old = seen.directories.get(number, {}), flushed.directories.get(number, {})
        names = {}
        for name in sorted(new.keys() | old.keys()):
            kept = new if new.get(name) == old.get(name) or name_survives() else old
            if name in kept:
                names[name] = kept[name]
        return names

    waiting = [0]
    while waiting:
        number = waiting.pop()
        directories[number] = names_of(number)
        for child in directories[number].values():
            if child in directories or child in files:
                continue
            if child in seen.directories or child in flushed.directories:
                waiting.append(child)
                continue
            new, old = seen.files.get(child), flushed.files.get(child)
            if new is not None and (new == old or written()):
                files[child] = new
            else:
                files[child] = old or Content(empty, 0o644)
    return Tree(directories, files)


def write_tree(tree: Tree, target: Path, store: Path) -> None:
    """Make the directory `target`, with a tree of files whose contents are in `store`."""
    written: dict[int, Path] = {}

    def fill(number: int, path: Path) -> None:
        path.mkdir(parents=True)
        for name, child in tree.directories[number].items():
            place = path / name
            if child in tree.directories:
                fill(child, place)
            elif child in written:
                os.link(written[child], place)
            else:
                content = tree.files[child]
                place.write_bytes((store / content.digest).read_bytes())
                place.chmod(content.mode)
                written[child] = place

    fill(0, target)


def digest_of_tree(tree: Tree) -> str:
    """Digest of what is to be seen in a tree: names, contents, permissions."""
    sink = hashlib.sha256()

    def add(number: int, path: str) -> None:
        for name, child in sorted(tree.directories[number].items()):
            if child in tree.directories:
                sink.update(f"{path}/{name}\n".encode())
                add(child, f"{path}/{name}")
            else:
                sink.update(f"{path}/{name} {tree.files[child]}\n".encode())

    add(0, "")
    return sink.hexdigest()
