"""What a workspace withstands: kills, power cuts, damaged files, dead processes.

    python -m benchmarks.faults --seconds 600 --jobs 2

Two editions of a small world are made once, and the history of the workspace is recorded. Then:

    kill       the workspace as a program leaves it that is killed before one of its operations
    power cut  the same step, without what had not been flushed: names, contents, or both by chance
    damage     the finished workspace with one file altered in a byte, cut, emptied or removed
    process    a run on Ray of which one process is killed with SIGKILL

In each state all commands that read are asked, then the run is repeated. Counted is how often
every command answered, at worst with one line (held), and how often an output that was finished
before the last one was gone or another release was made (lost), a command ended in a traceback, did
not end (hung), or a damage was noticed by nobody (unnoticed). Equal states are tried once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.common.commands import Ended, run_forked, run_here
from benchmarks.common.dead_processes import PROCESSES, kill_a_process
from benchmarks.common.file_history import (
    Content,
    Recorder,
    Step,
    Tree,
    after_kill,
    after_power_cut,
    after_reordering,
    digest_of_tree,
    write_tree,
)
from benchmarks.common.hardware import commit, machine
from benchmarks.common.small_world import TEAMS, write_world
from infra.files.digest import digest_of
from infra.storage.workspace import RECORD
from pipeline.stages import STAGES

GROUPS = ("kill", "power cut", "damage", "process")
ALLOWED_S = 240.0
"""Seconds after which the commands of one trial are taken for hung."""
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


@dataclass(frozen=True, slots=True)
class Trial:
    """One state of a workspace, to be tried."""

    group: str
    name: str
    tree: Tree
    gone: Sequence[str] = ()
    """Outputs that were finished before the last one when this happened, and are not there now."""


Make = Callable[[], Trial]
"""Makes the state of a trial, which takes a moment."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial: one of held, lost, traceback, hung, unnoticed."""

    group: str
    name: str
    kind: str
    detail: str = ""


def main() -> None:
    """Print how many states of each group were tried, held and lost, and each that did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="at most; 0 is without end")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS)
    parser.add_argument("--seed", type=int, default=0, help="of the choice among the states")
    given = parser.parse_args()
    print(f"{machine()}, commit {commit()}\n")
    with tempfile.TemporaryDirectory(prefix="corrigenda-faults-") as directory:
        bench = Bench(Path(directory))
        outcomes = bench.run(given.groups, given.seconds, given.jobs, given.seed)
    print("| fault | states | tried | held | lost | traceback | hung | unnoticed |")
    print("|" + "---|" * 8)
    for group in given.groups:
        counts = Counter(outcome.kind for outcome in outcomes if outcome.group == group)
        kinds = ("held", "lost", "traceback", "hung", "unnoticed")
        row = [group, bench.states[group], counts.total(), *(counts[kind] for kind in kinds)]
        print("| " + " | ".join(map(str, row)) + " |")
    bad = [outcome for outcome in outcomes if outcome.kind != "held"]
    for outcome in bad:
        print(f"\n{outcome.group}: {outcome.name}: {outcome.kind}\n{outcome.detail}")
    raise SystemExit(1 if bad else 0)


class Bench:
    """A small world, the recorded history of its workspace, and the trials on it."""

    def __init__(self, place: Path) -> None:
        """
        place  an empty directory
        """
        torch.set_num_threads(1)  # other threads do not live on in a fork
        self.place = place
        self.configs = write_world(place)
        self.store = place / "contents"
        self.states: Counter[str] = Counter()
        self.whole = place / "workspace"
        for made in (self.store, self.whole):
            made.mkdir()
        self.recorder = Recorder(self.whole, self.store)
        with self.recorder.recording():
            made = run_here(self.make(self.whole, 2))
        if made.code != 0:
            raise SystemExit(f"the world cannot be made: {made.err}{made.raised}")
        self.releases = ids(run_here(["releases", "-w", str(self.whole), "--json"]))
        later = place / "later"
        shutil.copytree(self.whole, later)
        run_here(self.make(later, 3))
        self.later = ids(run_here(["releases", "-w", str(later), "--json"]))
        shutil.rmtree(later)

    def make(self, workspace: Path, editions: int) -> list[str]:
        """The command that makes the first editions in a workspace."""
        config = str(self.configs[editions])
        return ["run", "-c", config, "-w", str(workspace), "--ray-address", "none"]

    def run(self, groups: Sequence[str], seconds: float, jobs: int, seed: int) -> list[Outcome]:
        """Try the states of the groups, each group in an equal share of the time."""
        outcomes: list[Outcome] = []
        until = time.monotonic() + seconds if seconds else float("inf")
        for number, group in enumerate(groups):
            now = time.monotonic()
            end = now + (until - now) / (len(groups) - number)
            tried = (
                self.processes(end) if group == "process" else self.trials(group, end, jobs, seed)
            )
            outcomes += tried
        return outcomes

    def trials(self, group: str, end: float, jobs: int, seed: int) -> Iterator[Outcome]:
        """Try the states of a group in an order by chance, until the time is over."""
        makers = {"kill": self.kills, "power cut": self.power_cuts, "damage": self.damages}
        makes = list(makers[group]())
        self.states[group] = len(makes)
        random.Random(seed).shuffle(makes)
        tried: set[str] = set()

        def tasks() -> Iterator[tuple[tuple[Trial, Path], list[list[str]]]]:
            for number, make in enumerate(makes):
                if time.monotonic() > end:
                    return
                trial = make()
                if (digest := digest_of_tree(trial.tree)) in tried:
                    continue
                tried.add(digest)
                place = self.place / f"{group} {number}"
                write_tree(trial.tree, place, self.store)
                yield (trial, place), self.commands(trial, place)

        for (trial, place), ended in run_forked(tasks(), jobs=jobs, allowed_s=ALLOWED_S):
            yield self.judge(trial, place, ended)
            shutil.rmtree(place)

    def kills(self) -> Iterator[Make]:
        """The workspace before each operation on its files."""
        for number, step in enumerate(self.recorder.steps):
            name = f"step {number}, {step.operation}"
            yield partial(lambda name, step: Trial("kill", name, after_kill(step)), name, step)

    def power_cuts(self) -> Iterator[Make]:
        """At each step without what was not flushed."""
        finished: list[str] = []  # outputs in the order in which they were finished
        for number, step in enumerate(self.recorder.steps):
            finished += [output for output in outputs_of(step.seen) if output not in finished]
            before = tuple(finished[:-1])
            for left, cut in CUTS.items():
                name = f"step {number}, {step.operation}: {left}"
                yield partial(power_cut, name, step, cut, before)

    def damages(self) -> Iterator[Make]:
        """The finished workspace with one file damaged, each file in each way."""
        tree = self.recorder.steps[-1].seen
        for path, number in files_of(tree):
            for how in DAMAGES:
                yield partial(damage, tree, path, tree.files[number], how, self.store)

    def commands(self, trial: Trial, place: Path) -> list[list[str]]:
        """Every command that reads, then the run that mends or goes on, and what is there then."""
        at = ["-w", str(place)]
        reading = [
            ["verify", *at],
            ["status", *at],
            ["releases", *at],
            ["why", TEAMS[0][0], *at],
            ["ask", f"{TEAMS[0][0]} plays for", *at],
        ]
        again = self.make(place, 3 if trial.group == "damage" else 2)
        last = [["releases", "--json", *at], ["verify", *at]]
        return [*reading, again, *last, ["rollback", *at]]

    def judge(self, trial: Trial, place: Path, ended: Sequence[Ended] | None) -> Outcome:
        """What became of a trial whose commands have ended."""

        def outcome(kind: str, detail: str = "") -> Outcome:
            return Outcome(trial.group, trial.name, kind, detail)

        if ended is None:
            return outcome("hung")
        for command in ended:
            if command.raised or "Traceback" in command.err + command.out:
                said = command.raised or command.err or command.out
                return outcome("traceback", f"{' '.join(command.words)}\n{said}")
        verified, *_, again, listed, verified_again, _ = ended
        if trial.group == "damage":
            if verified.code == 0:
                return outcome("unnoticed", verified.out)
            right = again.code != 0 or ids(listed) == self.later
            return outcome("held" if right else "lost", again.out)
        if again.code != 0 or ids(listed) != self.releases:
            return outcome("lost", f"{again.err}{listed.out}")
        if verified_again.code != 0:
            return outcome("unnoticed", verified_again.out)
        return outcome("lost", f"gone: {trial.gone}") if trial.gone else outcome("held")

    def processes(self, end: float) -> Iterator[Outcome]:
        """Runs on Ray of which one process is killed in a stage that has workers."""
        trials = [(process, stage) for process in PROCESSES for stage in ("probe", "evaluate")]
        self.states["process"] = len(trials)
        for number, (process, stage) in enumerate(trials):
            if time.monotonic() > end:
                return
            place = self.place / f"process {number}"
            words = self.make(place, 2)[:-1]
            name = f"{process} killed in {stage}"
            killed = kill_a_process([*words, "local"], process, place / stage, ALLOWED_S)
            if killed.code is None:
                yield Outcome("process", name, "hung", killed.err)
            elif "Traceback" in killed.err:
                yield Outcome("process", name, "traceback", killed.err)
            elif killed.left:
                yield Outcome("process", name, "lost", f"processes left: {killed.left}")
            else:
                trial = Trial("process", name, Tree({}, {}))
                task = (trial, self.commands(trial, place))
                for _, ended in run_forked([task], jobs=1, allowed_s=ALLOWED_S):
                    yield self.judge(trial, place, ended)
            shutil.rmtree(place)


def power_cut(name: str, step: Step, cut: Callable[[Step], Tree], finished: Sequence[str]) -> Trial:
    """What a power cut leaves at a step.

    finished  outputs that were finished before the last one
    """
    tree = cut(step)
    there, found = outputs_of(step.seen), outputs_of(tree)
    gone = [output for output in finished if found.get(output) != there.get(output)]
    return Trial("power cut", name, tree, gone)


def damage(tree: Tree, path: str, file: Content, how: str, store: Path) -> Trial:
    """A tree in which one file is damaged in one of the ways of `DAMAGES`."""
    content = (store / file.digest).read_bytes()
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1]) if content else b"?"
    damaged = {
        "altered": content[:middle] + flipped + content[middle + 1 :],
        "cut": content[:middle],
        "emptied": b"",
    }
    changed = replace_file(tree, path, damaged.get(how), store)
    return Trial("damage", f"{path} {how}", changed)


def ids(listed: Ended) -> list[tuple[str, str, bool]] | None:
    """Version, id and whether it is in production, of each release that `releases --json` listed;
    None where it could not list them."""
    if listed.code != 0:
        return None
    return [
        (row["version"], row["release_id"], row["production"]) for row in json.loads(listed.out)
    ]


def files_of(tree: Tree, number: int = 0, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Path and number of every file under a directory of a tree."""
    for name, child in sorted(tree.directories[number].items()):
        if child in tree.directories:
            yield from files_of(tree, child, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", child


def outputs_of(tree: Tree) -> dict[str, str]:
    """Stage and version of each finished output -> digest of all its files."""
    found = {}
    for stage in STAGES:
        versions = tree.directories.get(tree.directories[0].get(stage, -1), {})
        for version, number in versions.items():
            if not version.endswith(".partial") and RECORD in tree.directories.get(number, {}):
                content = [(path, tree.files[file].digest) for path, file in files_of(tree, number)]
                found[f"{stage} {version}"] = digest_of(content)
    return found


def replace_file(tree: Tree, path: str, content: bytes | None, store: Path) -> Tree:
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


if __name__ == "__main__":
    main()
