"""How long the demo's job takes, stage by stage, in a workspace and a model cache of its own.

    python -m benchmarks.demo_job [--config examples/demo.toml]

Prints a Markdown table for benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common.hardware import commit, machine

ROOT = Path(__file__).parent.parent
"""Directory of the repository."""


def main() -> None:
    """Run the job once in an empty workspace, and print a table of seconds by stage and
    edition."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=str(ROOT / "examples" / "demo.toml"))
    config = parser.parse_args().config
    with tempfile.TemporaryDirectory() as place:
        command = [Path(sys.executable).parent / "corrigenda", "run", "--json"]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--config", config, "--workspace", f"{place}/workspace"],
            env={**os.environ, "CORRIGENDA_CACHE": f"{place}/cache"},
            stdout=subprocess.PIPE,
            text=True,
        )
        took = time.monotonic() - started
    if done.returncode:
        sys.exit(done.returncode)
    editions = json.loads(done.stdout)["editions"]
    print(f"{machine()}, commit {commit()}, `python {' '.join(sys.argv)}`\n")
    print("| seconds |", " | ".join(edition["version"] for edition in editions), "|")
    print("|---|" + "---|" * len(editions))
    for stage in editions[0]["stages"]:
        cells = [f"{edition['stages'][stage]['duration_s']:.1f}" for edition in editions]
        print(f"| {stage} |", " | ".join(cells), "|")
    print(f"\nWhole job, model conversion and Ray's start included: {took:.0f} s.")


if __name__ == "__main__":
    main()
