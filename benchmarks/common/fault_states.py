"""States of a workspace in which a fault leaves it, made of the recorded history of a run.

Each has features, of which every one should be tried: the kind of fault, the stage (or the part of
the workspace that is no stage's) and the kind of file that it happened to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.common.file_history import (
    Content,
    Step,
    Tree,
    after_kill,
    after_power_cut,
    after_reordering,
)
from benchmarks.common.full_disk import plain
from infra.files.digest import digest_of
from infra.storage.workspace import RECORD
from pipeline.stages import STAGES

SEEDS = 3
"""Orders by chance that are tried of each power cut."""
CUTS: dict[str, Callable[[Step], Tree]] = {
    "nothing unflushed": partial(after_power_cut, names=False, contents=False),
    "names only": partial(after_power_cut, names=True, contents=False),
    "contents only": partial(after_power_cut, names=False, contents=True),
    **{f"order {seed}": partial(after_reordering, seed=seed) for seed in range(SEEDS)},
}
"""What of that which was not flushed survives a power cut."""
DAMAGES = ("altered", "cut", "emptied", "removed")
LEFT_BYTES = (0, 4096, 65536)
"""What a full disk has left: nothing, a block, a few."""
KINDS = (".json", ".parquet", ".safetensors", ".jsonl", ".html", ".md", ".lock")
"""Suffixes by which kinds of files are told apart; the rest is other files and directories."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One state of a workspace, to be tried."""

    group: str
    name: str
    tree: Tree
    gone: Sequence[str] = ()
    """Outputs that were finished before the last one when this happened, and are not there now."""
    before: str = ""
    """The operation before which the disk gets full."""
    left_bytes: int = 0
    """What the disk has left then."""


@dataclass(frozen=True, slots=True)
class State:
    """A state that can be tried."""

    features: tuple[Hashable, ...]
    make: Callable[[], Trial]
    """Makes it, which takes a moment."""


def kills(steps: Sequence[Step]) -> Iterator[State]:
    """The workspace before each operation on its files."""
    for number, step in enumerate(steps):
        operation = step.operation.split()[0]
        name = f"step {number}, {step.operation}"
        make = partial(lambda name, step: Trial("kill", name, after_kill(step)), name, step)
        yield State((f"kill at {operation}", *about(step.operation)), make)


def power_cuts(steps: Sequence[Step]) -> Iterator[State]:
    """At each step without what was not flushed."""
    finished: list[str] = []  # outputs in the order in which they were finished
    for number, step in enumerate(steps):
        finished += [output for output in finished_in(step.seen) if output not in finished]
        before = tuple(finished[:-1])
        for left, cut in CUTS.items():
            name = f"step {number}, {step.operation}: {left}"
            make = partial(_power_cut, name, step, cut, before)
            yield State((f"power cut, {left}", *about(step.operation)), make)


def damages(tree: Tree, store: Path) -> Iterator[State]:
    """A finished workspace with one file damaged, each file in each way.

    store  directory of the contents of files, as a `Recorder` has it
    """
    for path, number in files_of(tree):
        for how in DAMAGES:
            make = partial(_damage, tree, path, tree.files[number], how, store)
            yield State((f"file {how}", *about(path)), make)


def full_disks(steps: Sequence[Step]) -> Iterator[State]:
    """A run of which the disk gets full before each operation on files, going on from the last
    output that was finished before."""
    known: set[str] = set()
    start, outputs = steps[0], 0
    for number, step in enumerate(steps):
        if (finished := len(finished_in(step.seen))) > outputs:
            start, outputs = step, finished
        operation = plain(step.operation)
        if operation in known or operation.split()[0] in ("fsync", "begin", "end"):
            continue
        known.add(operation)
        for left in LEFT_BYTES:
            name = f"step {number}, {operation}: {left} bytes left"
            make = partial(Trial, "full disk", name, start.seen, (), operation, left)
            yield State((f"full disk, {left} bytes left", *about(operation)), make)


def about(operation: str) -> tuple[str, str]:
    """The stage, or part of the workspace, and the kind of file of an operation, or of a path."""
    path = plain(operation.split()[-1]).removesuffix(".tmp")
    first, *rest = path.split("/")
    part = f"{first}/{rest[0]}" if first == "cache" and rest else first
    suffix = Path(path).suffix
    kind = suffix if suffix in KINDS else "other"
    return (part if rest else "workspace itself"), f"files {kind}"


def files_of(tree: Tree, number: int = 0, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Path and number of every file under a directory of a tree."""
    for name, child in sorted(tree.directories[number].items()):
        if child in tree.directories:
            yield from files_of(tree, child, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", child


def finished_in(tree: Tree) -> dict[str, int]:
    """Stage and version of each finished output -> number of its directory."""
    found = {}
    for stage in STAGES:
        versions = tree.directories.get(tree.directories[0].get(stage, -1), {})
        for version, number in versions.items():
            if not version.endswith(".partial") and RECORD in tree.directories.get(number, {}):
                found[f"{stage} {version}"] = number
    return found


def outputs_of(tree: Tree) -> dict[str, str]:
    """Stage and version of each finished output -> digest of all its files."""
    return {
        output: digest_of(
            [(path, tree.files[file].digest) for path, file in files_of(tree, number)]
        )
        for output, number in finished_in(tree).items()
    }


def _power_cut(
    name: str, step: Step, cut: Callable[[Step], Tree], finished: Sequence[str]
) -> Trial:
    """What a power cut leaves at a step.

    finished  outputs that were finished before the last one
    """
    tree = cut(step)
    there, found = outputs_of(step.seen), outputs_of(tree)
    gone = [output for output in finished if found.get(output) != there.get(output)]
    return Trial("power cut", name, tree, gone)


def _damage(tree: Tree, path: str, file: Content, how: str, store: Path) -> Trial:
    """A tree in which one file is damaged in one of the ways of `DAMAGES`."""
    content = (store / file.digest).read_bytes()
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1]) if content else b"?"
    damaged = {
        "altered": content[:middle] + flipped + content[middle + 1 :],
        "cut": content[:middle],
        "emptied": b"",
    }
    changed = _replace_file(tree, path, damaged.get(how), store)
    return Trial("damage", f"{path} {how}", changed)


def _replace_file(tree: Tree, path: str, content: bytes | None, store: Path) -> Tree:
    """A tree in which one file has another content, or is gone. Other names of the file keep it."""
    *folders, name = path.split("/")
    number = 0
    for folder in folders:
        number = tree.directories[number][folder]
    names = dict(tree.directories[number])
    old = tree.files[names.pop(name)]
    files = dict(tree.files)
    if content is not None:
        digest = hashlib.sha256(content).hexdigest()
        (store / digest).write_bytes(content)
        names[name] = new = max((*files, *tree.directories)) + 1
        files[new] = Content(digest, old.mode)
    return Tree({**tree.directories, number: names}, files)
