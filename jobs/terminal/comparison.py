"""`corrigenda eval`: any model on any edit set, and the table that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.errors import ConfigError
from infra.settings import nested
from pipeline.comparison.scaling import require_possible, scaling
from pipeline.comparison.systems import Comparison, System
from pipeline.edit.config import EditConfig, make_editor
from pipeline.evaluate.scoring.report import as_json

COLUMNS = (
    *("ES", "PS", "NS", "reliability", "generality", "near_agreement", "subject_agreement"),
    *("neutral_agreement", "leak", "kl", "perplexity"),
)
"""What the table shows of a report, where it was measured; the JSON has all of it."""


def systems_of(
    editors: Sequence[str], settings: Sequence[str], checkpoint: Path | None
) -> list[System]:
    """The systems of a command line: `memit`, or `narrow=memit`, each with the settings
    `NAME.key=value` given for its name, and a checkpoint edited elsewhere."""
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
        make_editor(config)  # an unknown editor or option ends the command here
        systems.append(System(name=name, edit=config))
    if own:
        raise ConfigError(f"--set {next(iter(own))}...: no --editor has that name.")
    if checkpoint:
        if not list(checkpoint.glob("*.safetensors")):
            raise ConfigError(f"--candidate {checkpoint} holds no safetensors. Give a checkpoint.")
        systems.append(System(name=checkpoint.name, checkpoint=checkpoint.absolute()))
    return systems


def table_rows(
    assessment: Comparison, systems: Sequence[System], *, alone: int = 0, steps: int = 0
) -> list[dict[str, Any]]:
    """One row a system, the unedited model and, where it was asked, the one with the fact in its
    prompt before them. `alone`, `steps`: as `pipeline.comparison.scaling.scaling` has them."""
    for system in systems:  # before the first of them takes its minutes
        require_possible(assessment.cases, system, alone=alone, steps=steps)
    rows: list[dict[str, Any]] = []
    for system in systems:
        evaluation = assessment.run(system)
        report = evaluation.json("report.json")
        if not rows:
            for role in ("base", "context"):
                if role in report["roles"]:
                    rows.append({"system": role, "metrics": report["roles"][role]})
        rows.append(
            {
                "system": system.name,
                "editor": system.edit.editor if system.edit else None,
                "metrics": report["roles"]["candidate"],
                "minus_base": report["differences"].get("candidate-base", {}),
                "oracle_gap": report["differences"].get("context-candidate", {}),
                "edit_s": assessment.seconds(system),
                "evaluate_s": evaluation.record["duration_s"],
                "scaling": {
                    name: as_json(metric)
                    for name, metric in scaling(
                        assessment, system, alone=alone, steps=steps
                    ).items()
                }
                if alone or steps
                else {},
                "refused": assessment.refused(system),
                "path": str(evaluation.path),
            }
        )
    return rows


def print_rows(
    rows: Sequence[Mapping[str, Any]], dropped: Mapping[str, int], console: Console
) -> None:
    """The table, and what was left out and why."""
    shown = [c for c in COLUMNS if any(c in row["metrics"] for row in rows)]
    table = Table("metric", *(row["system"] for row in rows), box=None, padding=(0, 2, 0, 0))
    for name in shown:
        table.add_row(name, *(cell(row["metrics"].get(name)) for row in rows))
    for name in dict.fromkeys(name for row in rows for name in row.get("scaling", {})):
        table.add_row(name, *(cell(row.get("scaling", {}).get(name)) for row in rows))
    console.print(table)
    for row in rows:
        for edit_id, reason in list(row.get("refused", {}).items())[:5]:
            console.print(f"  {row['system']} refused {edit_id}: {reason}", soft_wrap=True)
    for reason, number in dropped.items():
        console.print(f"  left out: {number} records, {reason}", soft_wrap=True)


def cell(metric: Mapping[str, Any] | None) -> str:
    """A number and its interval, to two digits: `0.97 .87-1.00`."""
    if metric is None or metric["value"] is None:
        return ""
    if metric["low"] is None:
        return f"{metric['value']:.2f}"
    low, high = (f"{metric[end]:.2f}" for end in ("low", "high"))
    return f"{metric['value']:.2f} {low.removeprefix('0')}-{high.removeprefix('0')}"
