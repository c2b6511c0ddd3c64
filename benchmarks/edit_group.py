"""What the edit stage by a group of processes costs: memory of each rank and CPU time, by the
number of workers, with whole models and with a sharded one.

    python -m benchmarks.edit_group --facts 16

Each group is started with torchrun on this machine, edits CounterFact's facts, and finds nothing
cached. Prints a Markdown table for benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.hardware import ROOT, commit, machine
from benchmarks.common.many_facts import facts
from editors.deltas.delta import Delta
from editors.deltas.weights import WeightPart
from infra.execution.torchrun_runner import serve_torchrun, torchrun_runner
from infra.models.embedded import EMBEDDED
from infra.models.library import quiet_transformers
from infra.models.loading import dtype_name, locate
from infra.storage.stage_dir import StageDir
from infra.telemetry.memory import peak_bytes
from pipeline.edit.config import EditConfig
from pipeline.edit.output import DELTA
from pipeline.edit.stage import EditInputs, edit

GROUPS = (("none", 1), ("none", 2), ("none", 4), ("zero3", 1), ("zero3", 2), ("zero3", 4))
"""Sharding and number of workers of each run; all others are compared with the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run of the stage took, and what it made."""

    seconds: float
    """From the first import on, as the slowest rank has it."""
    cpu_s: float
    """CPU time of all ranks, from the end of their imports on."""
    peaks: Sequence[int]
    """Greatest resident memory of each rank, bytes."""
    delta: Delta


def main() -> None:
    options = read_options()
    if options.rank_of:
        be_rank(options, Path(options.rank_of))
        return
    outcomes = {group: measured(options, *group) for group in GROUPS}
    first = outcomes[GROUPS[0]]
    print(f"{options.model}, {options.dtype}, {options.facts} facts, {machine()}, {commit()}\n")
    print("| sharding | workers | seconds | CPU s | over one's | GB by rank | delta differs by |")
    print("|---|---|---|---|---|---|---|")
    for (sharding, size), made in outcomes.items():
        peaks = ", ".join(f"{peak / 1e9:.2f}" for peak in made.peaks)
        print(
            f"| {sharding} | {size} | {made.seconds:.0f} | {made.cpu_s:.0f} "
            f"| {made.cpu_s / first.cpu_s:.2f} | {peaks} | {difference(made.delta, first.delta)} |"
        )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The edit stage by a group of processes.")
    parser.add_argument("--facts", type=int, default=16, help="how many are edited")
    parser.add_argument("--chunk", type=int, default=4, help="facts in a group of values, at most")
    parser.add_argument("--tokens", type=int, default=4096, help="of the statistics")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--dtype", default=dtype_name("auto", "cpu"))
    parser.add_argument("--sharding", default="none", help=argparse.SUPPRESS)
    parser.add_argument("--rank-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(options: argparse.Namespace, sharding: str, size: int) -> Outcome:
    """Run the stage with one group of processes, in a folder of its own."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={size}", "-m", "benchmarks.edit_group", "--rank-of", place]
        for name in ("facts", "chunk", "tokens", "model", "dtype"):
            command += [f"--{name}", str(getattr(options, name))]
        command += ["--sharding", sharding]
        subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        ranks = [json.loads(Path(place, f"{i}.json").read_text()) for i in range(size)]
        return Outcome(
            seconds=max(rank["seconds"] for rank in ranks),
            cpu_s=sum(rank["cpu_s"] for rank in ranks),
            peaks=[rank["memory"] for rank in ranks],
            delta=Delta.load(Path(place, "out", DELTA)),
        )


def be_rank(options: argparse.Namespace, place: Path) -> None:
    """Be one process of a group; leave in `place` what it took, and the output of the stage."""
    quiet_transformers()
    started, cpu_before = time.monotonic(), time.process_time()
    if not serve_torchrun():
        with torchrun_runner() as runner:
            out = StageDir(place / "out")
            out.path.mkdir()
            edit(inputs(options, place, int(os.environ["WORLD_SIZE"])), out, runner)
    took = {"seconds": time.monotonic() - started, "cpu_s": time.process_time() - cpu_before}
    made = json.dumps({**took, **peak_bytes()})
    Path(place, f"{os.environ['RANK']}.json").write_text(made, encoding="utf-8")


def inputs(options: argparse.Namespace, place: Path, size: int) -> EditInputs:
    """Inputs of the edit stage."""
    settings: dict[str, Any] = {
        "options": {"chunk": options.chunk, "statistics_tokens": options.tokens},
        "sharding": options.sharding,
        "workers": size,
    }
    return EditInputs(
        edits=facts(options.facts),
        preserved=(),
        relations={},
        base=locate(options.model),
        config=EditConfig(**settings),
        device="cpu",
        dtype=options.dtype,
        cache=place / "cache",
    )


def difference(delta: Delta, other: Delta) -> str:
    """The greatest difference of two deltas, over the largest number of a weight's change."""
    if delta.digest == other.digest:
        return "nothing"
    pairs = [
        (part.change.dense(), other.of(WeightPart)[name].change.dense())
        for name, part in delta.of(WeightPart).items()
    ]
    worst = max(float((one - two).abs().max() / two.abs().max()) for one, two in pairs)
    return f"{worst:.1e}"


if __name__ == "__main__":
    main()
