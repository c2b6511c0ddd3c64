"""Variants of an editor on the same CounterFact facts: what the model is worth with all edits in.

    python -m benchmarks.edit_quality --num 100 --set cov_ratio=0.3 \\
        --variant "narrow: layers=8,9" --variant "wide: layers=4,5,6,7,8,9 values.clamp=1" \\
        [--editor NAME] [--peer FILE] [--out FILE]

A setting is a dotted path in the editor's config class and a value (numbers separated by commas are
a list, [9] is a list of one); a variant has those of --set and its own. --peer is a safetensors
file of edited weights by parameter name, made elsewhere from the same facts and the same base.
Prints Markdown; appends to --out a line of JSON for every row. Outputs are kept in --workspace by
content: statistics, values, and whole rows are found again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.common.counterfact import load_facts
from benchmarks.common.hardware import commit, machine
from editors import EDITORS
from infra.errors import CorrigendaError
from infra.execution.ray_runner import runner_at
from infra.files.digest import digest_of
from infra.models.checkpoint import Checkpoint
from infra.models.embedded import EMBEDDED, cache_directory
from infra.models.library import quiet_transformers
from infra.models.loading import locate
from infra.settings import nested
from infra.storage.artifact import Artifact
from infra.storage.workspace import Workspace
from jobs.terminal.comparison import cell
from pipeline.comparison.systems import Comparison, System
from pipeline.config import ModelConfig
from pipeline.edit.config import EditConfig, make_editor
from pipeline.evaluate.cases import Case
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.output import ITEMS
from pipeline.evaluate.scoring.intervals import paired_bootstrap

SHOWN = ("ES", "PS", "NS", "reliability", "generality", "near_agreement", "leak", "kl")
"""Metrics that are printed."""
NUM_FACTS = 1100
"""Number of facts in the CounterFact file."""
COMPARED = SHOWN[:-1]
"""Metrics whose difference from the peer is printed."""


def main() -> None:
    """Evaluate the base, the peer and every variant, one after the other."""
    args = arguments()
    try:
        run(args, list(parse_variants(args)))
    except CorrigendaError as error:
        sys.exit(str(error))


def run(args: argparse.Namespace, systems: Sequence[System]) -> None:
    """Evaluate the systems and print the tables. Raises CorrigendaError."""
    quiet_transformers()
    base = locate(args.model)
    compute = ModelConfig(name=args.model, dtype=args.dtype, device=args.device).compute
    cases = load_facts(args.num)
    header = {
        "machine": machine(),
        "commit": commit(),
        "command": shlex.join(["python", *sys.argv]),
        "model": f"{base.name}@{base.digest[:12]}",
        "dtype": compute.dtype,
        "num": args.num,
    }
    print("; ".join(f"{key}: {value}" for key, value in header.items()), end="\n\n")
    place = Workspace(args.workspace)
    if args.peer:
        edited = place.root / "peers" / digest_of(str(args.peer.absolute()))[:12]
        Checkpoint(base.path).export(edited, load_file(args.peer))
        systems = [System(name="peer", checkpoint=edited), *systems]
    others = load_facts(NUM_FACTS).cases[args.num :]
    rows: dict[str, Artifact] = {}
    print("|", " | ".join(["", *SHOWN, "perplexity", "edited", "edit s"]), "|")
    print("|" + "---|" * (len(SHOWN) + 4), flush=True)
    with runner_at("local") as runner:
        comparison = Comparison(
            cases=cases,
            base=base,
            config=EvaluateConfig(
                metrics=("preference", "generation", "locality", "text"),
                num_near=args.num_neighbours,
            ),
            compute=compute,
            workspace=place,
            runner=runner,
            preserved=statements(cases.cases, others),
        )
        for system in systems:
            rows[system.name] = made = comparison.run(system)
            report = made.json("report.json")
            if len(rows) == 1:
                print_row("base", report["roles"]["base"])
            refused = len(comparison.refused(system))
            seconds = comparison.seconds(system)
            what = [f"{args.num - refused}/{args.num}", f"{seconds:.0f}"] if seconds else ["", ""]
            print_row(system.name, report["roles"]["candidate"], what)
            if args.out:
                line = {**header, "name": system.name, "roles": report["roles"]}
                with args.out.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(line) + "\n")
    if args.peer:
        print_differences(rows)


def print_row(name: str, metrics: Mapping[str, Any], more: Sequence[str] = ("", "")) -> None:
    """Print one line of the table.

    metrics  name -> result, of one model
    more     the last two cells: facts edited, and seconds of the edit
    """
    cells = [cell(metrics.get(metric)) for metric in (*SHOWN, "perplexity")]
    print("|", " | ".join([name, *cells, *more]), "|", flush=True)


def print_differences(rows: Mapping[str, Artifact]) -> None:
    """Print the difference of each variant from the peer on the same facts, with intervals of the
    paired bootstrap.

    rows  name of the system -> output of its evaluation; the peer's name is `peer`
    """
    items = {name: items_of(made) for name, made in rows.items()}
    peer = items.pop("peer")
    print("\n|", " | ".join(["minus the peer", *COMPARED]), "|")
    print("|" + "---|" * (len(COMPARED) + 1))
    for name, own in items.items():
        cells = []
        for metric in COMPARED:
            shared = own[metric].keys() & peer[metric].keys()
            changes = [own[metric][i] - peer[metric][i] for i in sorted(shared)]
            value, (low, high) = paired_bootstrap(changes, sorted(shared))
            cells.append(f"{value:+.3f} [{low:+.2f}, {high:+.2f}]")
        print("|", " | ".join([name, *cells]), "|")


def items_of(made: Artifact) -> dict[str, dict[str, float]]:
    """Metric -> fact -> value, for the edited model of an evaluation. Each fact here has its own
    subject."""
    found: dict[str, dict[str, float]] = {metric: {} for metric in COMPARED}
    for row in made.table(ITEMS).to_pylist():
        if row["role"] == "candidate" and row["metric"] in found:
            found[row["metric"]][row["item"]] = row["value"]
    return found


def statements(records: Sequence[Case], others: Sequence[Case]) -> list[str]:
    """True statements of the edited relations, which the edit stage gets as facts to preserve.

    Their subjects are not edited, and do not occur in the neighbourhood prompts of the evaluation.

    records  the facts that are edited
    others   the facts from which the statements are made
    """
    relations = {record.relation for record in records}
    asked = " ".join(query.prompt for record in records for query in record.near)
    return [
        f"{other.prompt} {other.old[0]}."
        for other in others
        if other.relation in relations and other.subject not in asked
    ]


def parse_variants(args: argparse.Namespace) -> Iterator[System]:
    """The system of each variant on the command line. Raises ConfigError for a setting that the
    editor does not have."""
    for text in args.variant or [f"{args.editor}:"]:
        name, _, own = text.partition(":")
        config = EditConfig(
            editor=args.editor,
            options=nested([*args.set, *own.split()]),
            preserve_share=args.preserve,
            threads=args.threads,
        )
        make_editor(config)
        yield System(name=name.strip(), edit=config)


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num", type=int, default=100, help="facts")
    parser.add_argument("--editor", choices=list(EDITORS), default="memit")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--variant", action="append", metavar="NAME: KEY=VALUE ...")
    parser.add_argument("--peer", type=Path, help="edited weights of another system")
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--num-neighbours", type=int, default=3)
    parser.add_argument("--preserve", type=float, default=0.5, help="share in the statistics")
    parser.add_argument("--workspace", type=Path, default=cache_directory() / "benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
