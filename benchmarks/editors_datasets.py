"""Editors next to each other on published edit sets: by generation, after all edits are in, beside
the unedited model and the one that has the fact in its prompt.

    python -m benchmarks.editors_datasets [--num 50] [--editors memit scoped grace ft-m locft-bf]
        [--data mquake:PATH ...] [--out FILE]

The edit sets are the first records of those in benchmarks/data; --data adds further ones from your
own files. Prints Markdown for benchmarks/README.md; every number is from the outputs kept in
--workspace, where a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.hardware import commit, machine
from editors import EDITORS
from infra.execution.ray_runner import runner_at
from infra.models.embedded import EMBEDDED, cache_directory
from infra.models.library import quiet_transformers
from infra.models.loading import locate
from infra.storage.workspace import Workspace
from jobs.terminal.comparison import cell, systems_of, table_rows
from pipeline.comparison.systems import Comparison
from pipeline.config import ModelConfig
from pipeline.datasets import load_cases
from pipeline.evaluate.config import EvaluateConfig

DATA = Path(__file__).parent / "data"
"""Directory of the edit sets."""
SETS = (
    ("counterfact", DATA / "counterfact.jsonl.gz"),
    ("zsre", DATA / "zsre.json.gz"),
    ("knowedit", DATA / "wiki_recent.json.gz"),
    ("knowedit", DATA / "wiki_counterfact.json.gz"),
    ("wikibigedit", DATA / "wikibigedit.json.gz"),
)
"""Name of the loader and file of each edit set."""
FAMILIES = ("preference", "generation", "locality", "portability", "text", "ripple", "multi_hop")
"""Families of metrics that are computed."""
COLUMNS = (
    *("reliability", "reliability_exact", "generality", "ES", "PS", "NS"),
    *("near_agreement", "subject_agreement", "neutral_agreement", "kl"),
    *("portability_one_hop", "portability_subject_alias"),
)
"""Metrics that are printed, each on a line of the table."""


def main() -> None:
    """Evaluate the editors on each edit set, and print one table for each set."""
    args = arguments()
    quiet_transformers()
    config = EvaluateConfig(metrics=FAMILIES, context=True, num_near=3, num_unrelated=args.num)
    compute = ModelConfig(name=args.model, dtype=args.dtype).compute
    print(f"{machine()}, {compute.dtype}, commit {commit()}, ", end="")
    print(f"`{shlex.join(['python', *sys.argv])}`\n", flush=True)
    own = [tuple(given.split(":", 1)) for given in args.data]
    with runner_at("local") as runner:
        for name, path in (*SETS, *own):
            cases = load_cases(name, Path(path), num=args.num)
            comparison = Comparison(
                cases=cases,
                base=locate(args.model),
                config=config,
                compute=compute,
                workspace=Workspace(args.workspace),
                runner=runner,
            )
            rows = table_rows(comparison, systems_of(args.editors, [], None))
            print_table(Path(path).name, cases.digest, len(cases.cases), dict(cases.dropped), rows)
            if args.out:
                with args.out.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps({"data": Path(path).name, "systems": rows}) + "\n")


def print_table(
    name: str, digest: str, num: int, dropped: dict[str, int], rows: Sequence[dict[str, Any]]
) -> None:
    """Print the table of an edit set: one line for each metric, one column for each system, and the
    number of items and the protocol of the metric.

    digest   digest of the facts
    num      number of facts
    dropped  reason -> number of records that were left out for it
    rows     results of each system
    """
    print(f"**{name}** (`{digest[:12]}`): {num} facts", end="")
    print("".join(f"; left out: {n} records, {why}" for why, n in dropped.items()) + "\n")
    print("|", " | ".join(["", *(row["system"] for row in rows), "n", "protocol"]), "|")
    print("|" + "---|" * (len(rows) + 3))
    for metric in COLUMNS:
        found = [row["metrics"][metric] for row in rows if metric in row["metrics"]]
        if found:
            cells = [cell(row["metrics"].get(metric)) for row in rows]
            protocol = found[-1]["protocol"].split("/data=")[0]
            print("|", " | ".join([metric, *cells, str(found[-1]["n"]), f"`{protocol}`"]), "|")
    seconds = [f"{row['edit_s']:.1f}" if row.get("edit_s") else "" for row in rows]
    print("|", " | ".join(["edit s", *seconds, "", ""]), "|")
    refused = [str(len(row["refused"])) if "refused" in row else "" for row in rows]
    print("|", " | ".join(["refused", *refused, "", ""]), "|\n", flush=True)


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num", type=int, default=50, help="facts of each edit set")
    parser.add_argument("--editors", nargs="+", choices=list(EDITORS), default=list(EDITORS))
    parser.add_argument("--data", nargs="+", default=[], metavar="NAME:FILE")
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--workspace", type=Path, default=cache_directory() / "benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
