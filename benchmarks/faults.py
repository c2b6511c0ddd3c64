"""What a workspace withstands: kills, power cuts, damaged files, full disks, dead processes.

    python -m benchmarks.faults --seconds 600 --jobs 2

Two editions of a small world are made once, and the history of the workspace is recorded. Then:

    full disk  a run whose file system gets full before one of its operations, with nothing left, a
               block or a few; then it has room again
    power cut  the workspace before one of its operations, without what had not been flushed: names,
               contents, or both by chance
    damage     the finished workspace with one file altered in a byte, cut, emptied or removed
    kill       the workspace as a program leaves it that is killed before one of its operations
    process    a run on Ray of which one process is killed with SIGKILL

In each state all commands that read are asked, then the run is repeated. Counted is how often
every command answered, at worst with one line (held), and how often an output that was finished
before the last one was gone or another release was made (lost), a command ended in a traceback, did
not end (hung), or a damage was noticed by nobody (unnoticed). Equal states are tried once.

Each fault gets an equal share of the time. Its states are tried in an order in which every kind of
the fault, every stage and every kind of file comes as early as it can
(`benchmarks/common/covering.py`): a short run has a little of everything. With `--sample` it ends
as soon as each of them was tried, all faults taken together: 36 trials.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.common.commands import Act, Ended, run_forked, run_here
from benchmarks.common.covering import Covering
from benchmarks.common.dead_processes import PROCESSES, kill_a_process
from benchmarks.common.fault_states import (
    State,
    Trial,
    damages,
    full_disks,
    kills,
    power_cuts,
)
from benchmarks.common.file_history import Recorder, Tree, digest_of_tree, write_tree
from benchmarks.common.full_disk import SmallDisk, can_mount
from benchmarks.common.hardware import commit, machine
from benchmarks.common.small_world import TEAMS, write_world

GROUPS = ("full disk", "power cut", "damage", "kill", "process")
OUTCOMES = ("held", "lost", "traceback", "hung", "unnoticed")
ALLOWED_S = 240.0
"""Seconds after which the commands of one trial are taken for hung."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial."""

    group: str
    name: str
    kind: str
    """One of `OUTCOMES`."""
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
    parser.add_argument("--sample", action="store_true", help="until all was tried once")
    given = parser.parse_args()
    print(f"{machine()}, commit {commit()}\n")
    with tempfile.TemporaryDirectory(prefix="corrigenda-faults-") as directory:
        bench = Bench(Path(directory))
        if given.sample:
            outcomes = bench.sample(given.groups, given.jobs, given.seed)
        else:
            outcomes = bench.run(given.groups, given.seconds, given.jobs, given.seed)
    print("| fault | states | tried | kinds tried | " + " | ".join(OUTCOMES) + " |")
    print("|" + "---|" * (4 + len(OUTCOMES)))
    for group in given.groups:
        counts = Counter(outcome.kind for outcome in outcomes if outcome.group == group)
        covered = "{} of {}".format(*bench.covered[group])
        row = [group, bench.states[group], counts.total(), covered]
        print("| " + " | ".join(map(str, [*row, *(counts[kind] for kind in OUTCOMES)])) + " |")
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
        """Group -> number of its states."""
        self.covered: dict[str, tuple[int, int]] = {}
        """Group -> number of features that were tried, and of all."""
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
            order = self.order(group, seed)
            outcomes += self.trials(group, order, jobs, lambda end=end: time.monotonic() > end)
        return outcomes

    def sample(self, groups: Sequence[str], jobs: int, seed: int) -> list[Outcome]:
        """Try states of the groups until every kind of fault was tried and, in one group or
        another, every stage and every kind of file; of dead processes, which take long, one."""
        outcomes: list[Outcome] = []
        seen = Counter[Hashable]()
        for group in groups:
            order = self.order(group, seed, seen)
            enough = (lambda: True) if group == "process" else partial(_is_covered, order)
            outcomes += self.trials(group, order, jobs, enough)
        return outcomes

    def order(
        self, group: str, seed: int, seen: Counter[Hashable] | None = None
    ) -> Covering[State]:
        """The order in which the states of a group are tried.

        seen  of other groups' orders, where what these have shown need not be shown again
        """
        steps = self.recorder.steps
        if group == "full disk" and not can_mount():
            print("no file system can be mounted here: no disk gets full")
            return Covering[State]([], seed, seen)
        makers: dict[str, Callable[[], Iterator[State]]] = {
            "kill": lambda: kills(steps),
            "power cut": lambda: power_cuts(steps),
            "damage": lambda: damages(steps[-1].seen, self.store),
            "full disk": lambda: full_disks(steps),
            "process": dead_processes,
        }
        states = list(makers[group]())
        self.states[group] = len(states)
        return Covering(states, seed, seen)

    def trials(
        self, group: str, order: Covering[State], jobs: int, enough: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Try states of a group in an order, until it is enough."""
        if group == "process":
            yield from self.processes(order, enough)
        else:
            yield from self.states_of(group, order, jobs, enough)
        self.covered[group] = len(order.features) - len(order.missing()), len(order.features)

    def states_of(
        self, group: str, order: Covering[State], jobs: int, enough: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Try states of a group that are made of the recorded history."""
        tried: set[str] = set()

        def tasks() -> Iterator[tuple[tuple[Trial, Path], list[Act]]]:
            while not enough() and (state := order.take()) is not None:
                trial = state.make()
                known = f"{digest_of_tree(trial.tree)} {trial.before} {trial.left_bytes}"
                if known in tried:
                    continue
                tried.add(known)
                order.tried(state)
                place = self.place / f"{group} {len(tried)}"
                if group == "full disk":
                    place.mkdir()
                    yield (trial, place), self.with_full_disk(trial, place)
                else:
                    write_tree(trial.tree, place, self.store)
                    yield (trial, place), [_flush_nothing, *self.commands(trial, place)]

        for (trial, place), ended in run_forked(tasks(), jobs=jobs, allowed_s=ALLOWED_S):
            judge = self.judge_full_disk if group == "full disk" else self.judge
            yield judge(trial, ended)
            shutil.rmtree(place)

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

    def judge(self, trial: Trial, ended: Sequence[Ended] | None) -> Outcome:
        """What became of a trial whose commands have ended."""
        outcome = partial(Outcome, trial.group, trial.name)
        if ended is None:
            return outcome("hung")
        if said := traceback_in(ended):
            return outcome("traceback", said)
        verified, *_, again, listed, verified_again, _ = ended
        if trial.group == "damage":
            if verified.code == 0 and not may_be_missing(trial.name):
                return outcome("unnoticed", verified.out)
            right = again.code != 0 or ids(listed) == self.later
            return outcome("held" if right else "lost", again.err + listed.out)
        if again.code != 0 or ids(listed) != self.releases:
            return outcome("lost", f"{again.err}{listed.out}")
        if verified_again.code != 0:
            return outcome("unnoticed", verified_again.out)
        return outcome("lost", f"gone: {trial.gone}") if trial.gone else outcome("held")

    def with_full_disk(self, trial: Trial, place: Path) -> list[Act]:
        """A run whose disk gets full, commands that read meanwhile, and the run again with room."""
        disk = SmallDisk(place, trial.before, trial.left_bytes)
        at = ["-w", str(disk.workspace)]
        run, listed = self.make(disk.workspace, 2), ["releases", "--json", *at]
        begin = [
            _flush_nothing,
            disk.mount,
            lambda: write_tree(trial.tree, disk.workspace, self.store),
            disk.wait,
        ]
        meanwhile = [["status", *at], ["verify", "--json", *at], listed]
        return [*begin, run, *meanwhile, disk.free, run, listed, ["verify", *at]]

    def judge_full_disk(self, trial: Trial, ended: Sequence[Ended] | None) -> Outcome:
        """What became of a run on a disk that got full: it ended in one line, what was released is
        whole and listed, and with room it ends with the same releases."""
        outcome = partial(Outcome, trial.group, trial.name)
        if ended is None:
            return outcome("hung")
        if said := traceback_in(ended):
            return outcome("traceback", said)
        full, _, verified, meanwhile, again, listed, verified_again = ended
        errors = [line for line in full.err.splitlines() if "Error: " in line]
        if full.code not in (0, 1) or len(errors) != full.code:
            return outcome("traceback", full.err)
        if full.code and "No space left" not in errors[0]:
            return outcome("unnoticed", full.err)
        if any(row["damage"] for row in json.loads(verified.out)["versions"] if row["version"]):
            return outcome("lost", full.err + verified.out)  # an entry of the log may be to come
        whole = ids(meanwhile)
        if whole is None or [one[:2] for one in whole] != [
            one[:2] for one in (self.releases or [])[: len(whole)]
        ]:
            return outcome("lost", full.err + meanwhile.out)
        if again.code != 0 or ids(listed) != self.releases:
            return outcome("lost", f"{full.err}{again.err}{listed.out}")
        if verified_again.code != 0:
            return outcome("unnoticed", full.err + verified_again.out)
        return outcome("held")

    def processes(self, order: Covering[State], enough: Callable[[], bool]) -> Iterator[Outcome]:
        """Runs on Ray of which one process is killed in a stage that has workers; one, at least."""
        number = 0
        while (not number or not enough()) and (state := order.take()) is not None:
            number += 1
            trial = state.make()
            order.tried(state)
            process, stage = trial.name.split(" killed in ")
            place = self.place / f"process {number}"
            words = self.make(place, 2)[:-1]
            killed = kill_a_process([*words, "local"], process, place / stage, ALLOWED_S)
            outcome = partial(Outcome, "process", trial.name)
            if killed.code is None:
                yield outcome("hung", killed.err)
            elif "Traceback" in killed.err:
                yield outcome("traceback", killed.err)
            elif killed.left:
                yield outcome("lost", f"processes left: {killed.left}")
            else:
                task = (trial, self.commands(trial, place))
                for _, ended in run_forked([task], jobs=1, allowed_s=ALLOWED_S):
                    yield self.judge(trial, ended)
            shutil.rmtree(place)


def dead_processes() -> Iterator[State]:
    """Each process of a run on Ray, killed in each stage that has workers."""
    for process in PROCESSES:
        for stage in ("probe", "evaluate"):
            trial = Trial("process", f"{process} killed in {stage}", Tree({}, {}))
            yield State((f"{process} killed", stage), lambda trial=trial: trial)


def ids(listed: Ended) -> list[tuple[str, str, bool]] | None:
    """Version, id and whether it is in production, of each release that `releases --json` listed;
    None where it could not list them."""
    if listed.code != 0:
        return None
    return [
        (row["version"], row["release_id"], row["production"]) for row in json.loads(listed.out)
    ]


def traceback_in(ended: Sequence[Ended]) -> str:
    """The command that ended in a traceback, with what it said; empty where none did."""
    for command in ended:
        if command.raised or "Traceback" in command.err + command.out:
            return f"{' '.join(command.words)}\n{command.raised or command.err or command.out}"
    return ""


def may_be_missing(name: str) -> bool:
    """Whether a damage is the removal of something that may be removed: a file of the cache."""
    return name.startswith("cache/") and name.endswith(" removed")


def _is_covered(order: Covering[State]) -> bool:
    """Whether an order has nothing to show that was not seen."""
    return not order.missing()


def _flush_nothing() -> None:
    """Let this process flush nothing: a power cut is made of the history, and no process sees the
    difference, but for the time that it takes."""
    os.fsync = os.fdatasync = lambda _: None


if __name__ == "__main__":
    main()
