"""A large dump or RDF file, through two editions to releases: seconds and memory of each stage.

    python -m benchmarks.large_sources --items 200000 --source dump

The source is built (`benchmarks/common/built_source.py`): of recorded statements, with ids, numbers
and days of its own. The second edition reads a second file, in which one fact of about 1 % of the
items has changed. The model is a random one of four layers unless `--model` names another, and is
asked about at most `--probed` changes in an edition: what a stage takes of time and memory beyond
that comes from the source. A stage's peak is that of the process that runs the command, and of the
largest worker of Ray where there are any. `--ray-address` is that of `corrigenda run`; `cluster`
starts two nodes of one CPU each on this machine. Prints Markdown tables for benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common import peaks
from benchmarks.common.built_source import DAYS, RELATIONS, SUFFIXES, write_source
from benchmarks.common.hardware import commit, machine
from benchmarks.common.small_world import SETTINGS, TEXT, write_model
from infra.execution.ray_runner import runner_at
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from pipeline.config import load_config
from pipeline.flow import run_editions
from pipeline.run import Run

SOURCE = """\
line = "large"
workspace = "workspace"
[model]
name = "{model}"
dtype = "float32"
max_new_tokens = 4
[[sources]]
kind = "{kind}"
name = "built"
path = "{path}"
relations = {relations}
{more}
[trust]
bulk_first = {items}
bulk_floor = {items}
[trust.sources.built]
base_trust = 1.0
[probe]
max_changes = {probed}
"""
"""Config of one edition, up to its settings of the other stages."""


@dataclass
class Stages:
    """Prints what each stage of an edition took as it ends, and keeps its output."""

    made: dict[tuple[str, str], Artifact] = field(default_factory=dict)
    """By version and stage."""
    began: float = 0.0

    def begin(self, stage: str, version: str) -> None:
        """Begin the span of a stage."""
        peaks.begin()
        self.began = time.monotonic()

    def end(self, made: Artifact) -> None:
        """End it, with its output."""
        stage, version = made.record["stage"], made.record["version"]
        took, (driver, worker) = time.monotonic() - self.began, peaks.end()
        cells = (f"{took:.1f}", f"{driver / 1e6:.0f}", f"{worker / 1e6:.0f}")
        print(f"| {version} | {stage} | {' | '.join(cells)} |", flush=True)
        self.made[version, stage] = made


def main() -> None:
    """Build the source, release both editions of it, and print what they took."""
    options = arguments()
    print(f"{machine()}, commit {commit()}, `{shlex.join(['python', *sys.argv])}`\n")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = Path(folder)
        for edition, day in enumerate(DAYS):
            path = place / f"{day}{SUFFIXES[options.source]}"
            began = time.monotonic()
            changed = write_source(path, options.source, options.items, edition)
            took = time.monotonic() - began
            print(
                f"Built {path.name} in {took:.0f} s: {options.items:,} items, "
                f"{path.stat().st_size / 1e6:.0f} MB packed; changed since: {changed:,}.",
                flush=True,
            )
        print("\n| edition | stage | seconds | peak, MB | peak of a worker, MB |")
        print("|---|---|---|---|---|", flush=True)
        with address_of(options.ray_address) as address:
            stages = release_both(
                place, options.source, options.items, options.probed, options.model, address
            )
        for version in dict.fromkeys(version for version, _ in stages.made):
            print(f"\n{version}: {counts_of(stages.made, version)}")


def release_both(
    place: Path, kind: str, items: int, probed: int, model: str | None, address: str
) -> Stages:
    """Release both editions of the source whose files are in the directory `place`.

    kind    `dump` or `rdf`
    probed  changes that the model is asked about in one edition, at most
    model   its name or directory; None writes a small random one
    """
    (place / "text.txt").write_text(TEXT)
    if model is None:
        write_model(place / "model")
    settings = SETTINGS.format(reliability=0.0)
    stages, workspace = Stages(), Workspace.at(str(place / "workspace"))
    with runner_at(address) as runner:
        for day in DAYS:
            text = SOURCE.format(
                model=model or place / "model",
                kind=kind,
                path=f"{day}{SUFFIXES[kind]}",
                relations=list(RELATIONS),
                more="wikibase = true" if kind == "rdf" else "",
                items=2 * items,
                probed=probed,
            )
            config = place / f"{day}.toml"
            config.write_text(f"{text}{settings}[[editions]]\nas_of = {day}\n")
            run = Run(
                config=load_config(config, {"workspace": str(place / "workspace")}),
                config_dir=place,
                workspace=workspace,
                runner=runner,
                begin=stages.begin,
                end=stages.end,
            )
            run_editions(run)
    return stages


def counts_of(made: dict[tuple[str, str], Artifact], version: str) -> dict[str, Any]:
    """Counts of an edition by what is counted, and the id of its release."""
    world, diff, probe, plan, release = (
        made[version, stage] for stage in ("snapshot", "diff", "probe", "plan", "release")
    )
    return {
        "items": world.counts["entities"],
        "facts": world.counts["facts"],
        "changes": dict(Counter(diff.counts["kinds"])),
        "taken_up": probe.counts["taken_up"],
        "probed": probe.counts["probed"],
        "planned": plan.counts["actions"],
        "held": plan.counts["held"],
        "fact_sheet": plan.counts["sheet"],
        "release_id": release.counts["release_id"],
    }


@contextmanager
def address_of(given: str) -> Iterator[str]:
    """The `--ray-address` for the one that was given; `cluster` is two nodes for the block."""
    if given != "cluster":
        yield given
        return
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 200 << 20}
    made = Cluster(initialize_head=True, head_node_args=node)
    try:
        made.add_node(**node)
        yield str(made.address)
    finally:
        made.shutdown()


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--source", choices=SUFFIXES, default="dump")
    parser.add_argument("--probed", type=int, default=40, help="changes probed in one edition")
    parser.add_argument("--model", help="its name or directory; a small random one if not given")
    parser.add_argument("--ray-address", default="none", help="as of `corrigenda run`, or cluster")
    parser.add_argument("--folder", help="where the files are put, instead of the system's")
    return parser.parse_args()


if __name__ == "__main__":
    main()
