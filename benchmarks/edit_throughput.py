"""How fast facts are edited: ours against EasyEdit's MEMIT, and against this machine's arithmetic.

    python -m benchmarks.edit_throughput --num 100 --easyedit PATH    both systems, same facts
    python -m benchmarks.edit_throughput --statistics                 five layers, one pass
    python -m benchmarks.edit_throughput --scaling 10 100 1000        ours, by number of edits
    python -m benchmarks.edit_throughput --gpu llama-3-8b --num 1000 --easyedit PATH --peer-num 5

PATH is a checkout of https://github.com/zjunlp/EasyEdit at 14cea82. Prints Markdown tables for
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.common.counterfact import template
from benchmarks.common.engine import Engine, MakeEngine, Run, drive, statistics_seconds, workers
from benchmarks.common.floor import floor_of, gemm_rate
from benchmarks.common.hardware import commit, machine
from benchmarks.common.many_facts import facts
from benchmarks.common.random_model import random_model, shape_of
from benchmarks.peers.easyedit_memit import PeerJob, PeerResult, run_peer
from editors.base import Base
from editors.statistics.key_moments import Statistics
from infra.execution.ray_runner import runner_at
from infra.models.embedded import EMBEDDED
from infra.models.loading import dtype_name, load, locate
from pipeline.evaluate.cases import Case

MATCHED = {
    "num_prefixed": 5,
    "context_tokens": 10,
    "values": {"steps": 25, "stop_loss": 0.05, "learning_rate": 1.2, "beta1": 0.5},
}
"""Settings of MEMIT that match the peer's: its number of contexts, its greatest number of steps,
and the loss at which it stops. The learning rate is so high that the clamp, which is the peer's,
decides how far a value moves, as it does for the peer."""
COLUMNS = (
    "values s",
    "keys s",
    "solve s",
    "seconds",
    "CPU s",
    "edits/s",
    "steps",
    "mean NLL",
    "ratio",
)
"""Columns of the table. `keys s` includes the preparation of the requests. `CPU s` does not count
time in which other programs used the machine. `ratio` is edits/s divided by the peer's."""


def main() -> None:
    """Measure what the command line asks for, and print tables."""
    options = arguments()
    place = machine()
    if torch.cuda.is_available():
        place = f"{torch.cuda.get_device_name()}, {place}"
    place += f", load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, commit {commit()}"
    print(f"{place}, `{shlex.join(['python', *sys.argv])}`\n", flush=True)
    if options.statistics:
        statistics(options)
    elif options.scaling:
        scaling(options)
    elif options.gpu:
        on_gpu(options)
    else:
        throughput(options)


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--num", type=int, default=100, help="facts")
    add("--easyedit", help="checkout of EasyEdit; without it, ours alone")
    add("--layers", type=int, nargs="+", help="default 7-11, on a GPU shape 4-8")
    add("--model", default=EMBEDDED)
    add("--dtype", default="auto", help="ours")
    add("--keep", type=Path, help="directory for deltas, weights, reports")
    add("--statistics", action="store_true", help="five layers in one pass against a forward")
    add("--tokens", type=int, default=16384, help="of --statistics")
    add("--scaling", type=int, nargs="+", metavar="NUM", help="ours with so many edits each")
    add("--steps", type=int, help="of --scaling: most steps of a value, for a quick look")
    add("--gpu", metavar="SHAPE", help="random weights: llama-3-8b, or a config.json")
    add("--hidden", type=int, help="narrow SHAPE to this width, to try it on a CPU")
    add("--chunk", type=int, default=32, help="facts optimised together in SHAPE")
    add(
        "--peer-num", type=int, help="facts for the peer: the first of all; default all, 5 in SHAPE"
    )
    add("--peer-dtype", default="float32", help="its editor loads float32")
    add("--peer-clamp", type=float, default=0.75, help="clamp_norm_factor")
    add("--peer-decay", type=float, default=0.5, help="v_weight_decay")
    add("--peer-weight", type=float, default=500.0, help="mom2_update_weight")
    options = parser.parse_args()
    if options.easyedit and not Path(options.easyedit, "easyeditor").is_dir():
        parser.error(f"--easyedit {options.easyedit} is no checkout of EasyEdit.")
    return options


def throughput(options: argparse.Namespace) -> None:
    """Measure both systems on the same facts, layers, number of contexts and second moments, and
    ours also with its defaults."""
    layers = options.layers or [7, 8, 9, 10, 11]
    records = facts(options.num)
    path, dtype = locate(options.model).path, dtype_name(options.dtype, "cpu")
    cores = os.cpu_count() or 1
    runs: dict[str, Run] = {}
    for name, settings in (
        (f"Corrigenda, matched, {dtype}", {**MATCHED, "layers": tuple(layers)}),
        (f"Corrigenda, defaults, {dtype}", {}),
    ):
        with runner_at("local") as runner:
            call = workers(runner, MakeEngine(path, dtype, settings))
            requests = [record.request() for record in records]
            runs[name] = drive(call, requests, num_workers=cores, fitted=None)
    matched = next(iter(runs.values()))
    peer = None
    with tempfile.TemporaryDirectory() as place:
        if options.easyedit:
            folder = options.keep or Path(place)
            some = records[: options.peer_num]
            job = peer_job(options, some, str(path), str(path), layers, folder / "easyedit")
            peer = with_moments(job, matched.fitted, layers)
    model, _ = load(path, dtype=getattr(torch, dtype))
    report(runs, peer, f"EasyEdit MEMIT, {options.peer_dtype}", len(records))
    floors(runs, model)
    keep(options.keep, runs)


def statistics(options: argparse.Namespace) -> None:
    """Measure the statistics of five layers, and the forward passes alone of the same tokens to the
    deepest of the layers."""
    layers = options.layers or [7, 8, 9, 10, 11]
    ref, dtype = locate(options.model), dtype_name(options.dtype, "cpu")
    base = Base(*load(ref.path, dtype=getattr(torch, dtype)), digest=ref.digest)
    statistics_seconds(base, layers, options.tokens // 8)  # warm
    pairs = [statistics_seconds(base, layers, options.tokens) for _ in range(2)]
    fitted_s, forward_s = (min(column) for column in zip(*pairs, strict=True))
    print("| layers | tokens | statistics s | forward s | ratio |\n|---|---|---|---|---|")
    ratio = fitted_s / forward_s
    cells = f"{options.tokens} | {fitted_s:.1f} | {forward_s:.1f} | {ratio:.2f}"
    print(f"| {layers[0]}-{layers[-1]} ({dtype}) | {cells} |")


def scaling(options: argparse.Namespace) -> None:
    """Measure ours with its defaults, for several numbers of edits."""
    path, dtype = locate(options.model).path, dtype_name(options.dtype, "cpu")
    print("| edits | sorting s | values s | keys s | solve s | ms/edit | peak GB of a worker |")
    print("|---|---|---|---|---|---|---|")
    fitted = None
    settings: dict[str, Any] = {"layers": tuple(options.layers)} if options.layers else {}
    if options.steps:
        settings["values"] = {"steps": options.steps}
    for number in options.scaling:
        requests = [record.request() for record in facts(number)]
        with runner_at("local") as runner:  # anew, since peak memory is a process's
            call = workers(runner, MakeEngine(path, dtype, settings))
            run = drive(call, requests, num_workers=os.cpu_count() or 1, fitted=fitted)
        fitted = run.fitted
        phases = " | ".join(f"{run.seconds[p]:.1f}" for p in ("sorting", "values", "keys", "solve"))
        each = 1000 * run.total_s / max(run.edited, 1)
        print(f"| {run.edited} of {number} | {phases} | {each:.0f} | {run.peak_bytes / 1e9:.2f} |")
        sys.stdout.flush()


def on_gpu(options: argparse.Namespace) -> None:
    """Measure both systems on a large model with random weights: ours on all facts, the peer on a
    few."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options.layers = options.layers or [4, 5, 6, 7, 8]
    records, tokens = facts(options.num), locate(EMBEDDED).path
    run = ours_on(options, records, tokens, device)
    runs = {f"Corrigenda, matched, {options.gpu}, bfloat16": run}
    gc.collect()
    torch.cuda.empty_cache()
    peer = None
    with tempfile.TemporaryDirectory() as place:
        if options.easyedit:
            some, folder = records[: options.peer_num or 5], Path(place)
            job = peer_job(options, some, options.gpu, str(tokens), options.layers, folder)
            job = replace(job, device=device, hidden=options.hidden)
            peer = with_moments(job, run.fitted, options.layers)
            print(f"Most memory of the peer: {peer.peak_bytes / 1e9:.1f} GB.\n")
    report(runs, peer, f"EasyEdit MEMIT, {options.peer_dtype}", len(records))
    keep(options.keep, runs)


def ours_on(options: argparse.Namespace, records: Sequence[Case], tokens: Path, device: str) -> Run:
    """Measure ours on a model with random weights, in this process. The memory of the model is free
    afterwards.

    tokens  directory of the tokenizer
    """
    _, tokenizer = load(tokens, dtype=torch.bfloat16)
    shape = shape_of(options.gpu, options.hidden)
    model = random_model(shape, dtype=torch.bfloat16, device=device)
    # Keys of a random model are all alike; none is to be set aside for that.
    own = {"layers": tuple(options.layers), "chunk": options.chunk, "min_leverage": 0.0}
    engine = Engine(Base(model, tokenizer, digest="random"), {**MATCHED, **own})
    requests = [record.request() for record in records]
    run = drive(lambda tasks: list(map(engine, tasks)), requests, num_workers=1, fitted=None)
    floors({options.gpu: run}, model)
    print(f"\nMost memory of ours: {run.peak_bytes / 1e9:.1f} GB.\n")
    return run


def peer_job(
    options: argparse.Namespace,
    records: Sequence[Case],
    model: str,
    tokenizer: str,
    layers: Sequence[int],
    out: Path,
) -> PeerJob:
    """The job of the peer on some facts; its files are written to `out`."""
    requests = [
        {
            "case_id": record.id,
            "prompt": template(record),
            "subject": record.subject,
            "target_new": record.target,
        }
        for record in records
    ]
    return PeerJob(
        easyedit=str(Path(options.easyedit).absolute()),
        model=model,
        tokenizer=tokenizer,
        moments=str(out / "moments.safetensors"),
        requests=requests,
        layers=layers,
        out=str(out),
        clamp=options.peer_clamp,
        decay=options.peer_decay,
        mom2_weight=options.peer_weight,
        dtype=options.peer_dtype,
        threads=os.cpu_count() or 1,
    )


def with_moments(job: PeerJob, fitted: Statistics, layers: Sequence[int]) -> PeerResult:
    """Run the peer with our second moments. Raises CalledProcessError where it fails."""
    Path(job.moments).parent.mkdir(parents=True, exist_ok=True)
    moments = {str(layer): fitted.moment(layer).float().cpu().contiguous() for layer in layers}
    save_file(moments, job.moments)
    return run_peer(job)


def report(runs: Mapping[str, Run], peer: PeerResult | None, peer_name: str, number: int) -> None:
    """Print a table with one line for each system.

    runs    name of ours, with its settings -> the measurement
    peer    the measurement of the peer; None where it did not run
    number  number of facts for ours
    """
    print("| system | edits |", " | ".join(COLUMNS), "|")
    print("|---|---|" + "---|" * len(COLUMNS))
    pace = len(peer.steps) / peer.seconds if peer else math.nan
    for name, run in runs.items():
        phases = [run.seconds["values"], run.seconds["sorting"] + run.seconds["keys"]]
        nll = mean(-math.log(max(p, 1e-30)) for p in run.p_targets) if run.p_targets else math.nan
        row = [*phases, run.seconds["solve"], run.total_s, run.cpu_s]
        line(name, f"{run.edited} of {number}", row, run.edited, sum(run.steps), nll, pace)
    if peer:
        row = [*(peer.phases[p] for p in ("values", "keys", "solve")), peer.seconds, peer.cpu_s]
        number = len(peer.steps)
        line(peer_name, str(number), row, number, sum(peer.steps), mean(peer.nlls), pace)
    print("\nStatistics are not in the seconds; they took ours", end=" ")
    print(" and ".join(f"{run.seconds['statistics']:.1f} s" for run in runs.values()), end=".\n")
    if peer:
        early = sum(peer.steps_to_nll)
        less = peer.phases["values"] * (1 - early / sum(peer.steps))
        print(
            f"The peer stops when its loss, KL and decay included, is below 0.05, ours when NLL "
            f"is. The peer's NLL was there, or its steps at an end, after {early} steps: stopped "
            f"then, it would have taken {peer.seconds - less:.0f} s."
        )


def line(
    name: str, edits: str, seconds: Sequence[float], done: int, steps: int, nll: float, pace: float
) -> None:
    """Print one line of the table.

    edits    text of the column `edits`
    seconds  values, keys, solve, whole edit, CPU
    done     number of facts that were edited
    steps    evaluations of the loss, over all facts
    nll      mean NLL of the targets
    pace     edits/s of the peer
    """
    rate = done / seconds[3]
    cells = [f"{s:.1f}" for s in seconds] + [f"{rate:.3f}", str(steps), f"{nll:.3f}"]
    print(f"| {name} | {edits} |", " | ".join([*cells, f"{rate / pace:.1f}"]), "|")


def floors(runs: Mapping[str, Run], model: Any) -> None:
    """Print the time of the search for values and its lower bound (`benchmarks.common.floor`)."""
    rate = gemm_rate(model)
    print(f"\nLarge products in {model.dtype}: {rate / 1e9:.0f} GFLOP/s.\n")
    print("| system | tokens run again | predictions | TFLOP | floor s | values s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, run in runs.items():
        floor = floor_of(model, run.layers[-1], run.sizes, run.steps, rate)
        work = f"{floor.tokens} | {floor.heads} | {floor.flop / 1e12:.2f} | {floor.seconds:.2f}"
        took = run.seconds["values"]
        print(f"| {name} | {work} | {took:.2f} | {took / floor.seconds:.2f} |")


def keep(folder: Path | None, runs: Mapping[str, Run]) -> None:
    """Save the deltas and reports below a folder, so that the edits can be evaluated; None saves
    nothing."""
    for name, run in runs.items() if folder else ():
        assert folder is not None
        out = folder / name.replace(", ", "-").lower()
        out.mkdir(parents=True, exist_ok=True)
        run.proposal.delta.save(out / "delta.safetensors")
        content = [asdict(report) for report in run.proposal.reports]
        (out / "reports.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
