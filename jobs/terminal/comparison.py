"""The systems that `corrigenda eval` compares, and the table of their metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.display import line
from infra.errors import ConfigError
from infra.settings import nested
from jobs.terminal.words import many
from pipeline.comparison.scaling import require_possible, scaling
from pipeline.comparison.systems import Comparison, System
from pipeline.edit.config import EditConfig, make_editor
from pipeline.evaluate.output import REPORT
from pipeline.evaluate.scoring.report import as_json
from pipeline.release.pages.figures import name_of, ordered

COLUMNS = (
    *("ES", "PS", "NS", "reliability", "chat_reliability", "generality", "chat_generality"),
    *("near_agreement", "chat_near_agreement", "subject_agreement", "neutral_agreement"),
    *("leak", "kl", "perplexity"),
)
"""Metrics in the table, if they were measured; the JSON output has all metrics."""
UNEDITED = {
    "base": "the unedited model",
    "context": "the unedited model that reads the fact in its prompt",
}
"""Systems without an edit -> what they are."""
MAX_REFUSALS = 5
"""Most refused facts of an editor that are printed one by one."""


def systems_of(
    editors: Sequence[str], settings: Sequence[str], checkpoint: Path | None
) -> list[System]:
    """The systems to compare, from options of the command line.

    editors     `memit`, or `narrow=memit` for the editor memit under the name `narrow`
    settings    `NAME.key=value`, a setting for the system of that name
    checkpoint  directory of a model that was edited elsewhere

    Raises ConfigError for an unknown editor, a bad setting, or a directory without weights.
    """
    systems = []
    own: dict[str, list[str]] = {}
    for setting in settings:
        name, dot, rest = setting.partition(".")
        if not dot or "=" not in rest:
            raise ConfigError(f"--set {setting!r}: write SYSTEM.key=value, as memit.layers=[3,4].")
        own.setdefault(name, []).append(rest)
    for given in editors:
        name, equals, editor = given.partition("=")
        config = EditConfig(editor=editor if equals else name, options=nested(own.pop(name, [])))
        make_editor(config)  # raises for an unknown editor or option
        systems.append(System(name=name, edit=config))
    if own:
        raise ConfigError(f"--set {next(iter(own))}...: no --editor has that name.")
    if checkpoint:
        if not list(checkpoint.glob("*.safetensors")):
            raise ConfigError(f"--candidate {checkpoint} holds no safetensors. Give a checkpoint.")
        systems.append(System(name=checkpoint.name, checkpoint=checkpoint.absolute()))
    return systems


def table_rows(
    comparison: Comparison, systems: Sequence[System], *, alone: int = 0, steps: int = 0
) -> list[dict[str, Any]]:
    """Evaluate the systems; return one row of JSON values for each.

    The first rows are the unedited model and, if it was evaluated, the unedited model with the fact
    in its prompt. `alone` and `steps` are explained at `pipeline.comparison.scaling.scaling`.
    """
    for system in systems:  # refuse before the first evaluation, which takes minutes
        require_possible(comparison.cases, system, alone=alone, steps=steps)
    rows: list[dict[str, Any]] = []
    for system in systems:
        evaluation = comparison.run(system)
        report = evaluation.json("report.json")
        if not rows:
            for role in UNEDITED:
                if role in report["roles"]:
                    rows.append({"system": role, "metrics": report["roles"][role]})
        rows.append(
            {
                "system": system.name,
                "editor": system.edit.editor if system.edit else None,
                "metrics": report["roles"]["candidate"],
                "minus_base": report["differences"].get("candidate-base", {}),
                "oracle_gap": report["differences"].get("context-candidate", {}),
                "edit_s": comparison.seconds(system),
                "evaluate_s": evaluation.record["duration_s"],
                "scaling": {
                    name: as_json(metric)
                    for name, metric in scaling(
                        comparison, system, alone=alone, steps=steps
                    ).items()
                }
                if alone or steps
                else {},
                "refused": comparison.refused(system),
                "path": str(evaluation.path),
            }
        )
    return rows


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    dropped: Mapping[str, int],
    console: Console,
    *,
    verbose: bool = False,
) -> None:
    """Print the table, refused facts, dropped records, and the paths of the reports.

    dropped  reason -> number of records of the data that were not used
    verbose  whether all metrics are printed, instead of `COLUMNS`
    """
    measured = ordered({name for row in rows for name in row["metrics"]})
    shown = measured if verbose else [name for name in COLUMNS if name in measured]
    heads = ("", "metric", *(row["system"] for row in rows))
    table = Table(*heads, box=None, padding=(0, 2, 0, 0))
    for name in shown:
        cells = (cell(row["metrics"].get(name)) for row in rows)
        table.add_row(name_of(name), name, *cells)
    for name in dict.fromkeys(name for row in rows for name in row.get("scaling", {})):
        table.add_row("", name, *(cell(row.get("scaling", {}).get(name)) for row in rows))
    console.print(table)
    for system, meaning in UNEDITED.items():
        if any(row["system"] == system for row in rows):
            console.print(f"{system}: {meaning}")
    console.print("Behind each number is its 95 % interval. ↓ marks numbers that should be small.")
    if left_out := len(measured) - len(shown):
        console.print(f"{many(left_out, 'more number')}: run again with -v, or with --json.")
    for row in rows:
        refusals = list(row.get("refused", {}).items())
        for edit_id, reason in refusals[:MAX_REFUSALS]:
            text = f"  {row['system']} refused {edit_id}: {line(reason)}"
            console.print(text, soft_wrap=True)
        if len(refusals) > MAX_REFUSALS:
            rest = many(len(refusals) - MAX_REFUSALS, "other fact")
            console.print(f"  {row['system']} refused {rest}")
    for reason, number in dropped.items():
        text = f"  left out: {many(number, 'record')}, {line(reason)}"
        console.print(text, soft_wrap=True)
    for row in rows:
        if "path" in row:
            text = f"Report of {row['system']}: {row['path']}/{REPORT}"
            console.print(text, soft_wrap=True)


def cell(metric: Mapping[str, Any] | None) -> str:
    """A metric's value and interval with two decimals: `0.97 .87-1.00`; empty if not measured."""
    if metric is None or metric["value"] is None:
        return ""
    if metric["low"] is None:
        return f"{metric['value']:.2f}"
    low, high = (f"{metric[end]:.2f}" for end in ("low", "high"))
    return f"{metric['value']:.2f} {low.removeprefix('0')}-{high.removeprefix('0')}"
