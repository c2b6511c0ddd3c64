"""The end of a run, for a person: what was found, what was done about it, the proof, what to do
next."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.storage.workspace import Workspace
from pipeline.release.pages.figures import ordered

MAX_REASONS = 8
MAX_SAMPLE = 40
"""Characters shown of a piece that could not be used."""


def print_edition(summary: Mapping[str, Any], console: Console) -> None:
    """One edition's summary (`pipeline.queries.summary.summarise`)."""
    counts = {name: stage["counts"] for name, stage in summary["stages"].items()}
    console.rule(f"[bold]Edition {summary['version']}")
    _print_counts(counts, console)
    _print_skips(summary["skips"], console)
    if "report" in summary:
        _print_report(summary["report"], console)
    if "gate" in summary:
        _print_gate(summary["gate"], console)
    for example in summary.get("examples", ()):
        console.print(f"  [bold]{example['prompt']}[/]")
        console.print(f"      before  {example['before_answer'] or '(nothing)'}")
        console.print(f"      now     [green]{example['answer']}[/]")
    if "release" in summary:
        release = summary["release"]
        console.print(
            f"\nRelease [bold]{summary['version']}[/] holds {release['edits']} edits "
            f"(id {release['release_id'][:12]}) in {release['path']}",
            soft_wrap=True,
        )
    if summary["page"]:
        console.print(f"Report: {summary['page']}", soft_wrap=True)


def print_next(summary: Mapping[str, Any], workspace: Workspace, console: Console) -> None:
    """What to try now."""
    here = workspace.root == Path.cwd() / "workspace"
    where = "" if here else f" --workspace {workspace.root}"
    program = os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else sys.argv[0]
    prompt = next((e["prompt"] for e in summary.get("examples", ())), "The capital of France is")
    console.print("\nNext:")
    for command in (f'ask "{prompt}"', f'why "{prompt}"', "releases", "status", "rollback"):
        console.print(f"  {program} {command}{where}", soft_wrap=True)


def _print_counts(counts: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2))
    for stage, label, key in (
        ("snapshot", "facts crawled", "facts"),
        ("diff", "changes by kind", "kinds"),
        ("probe", "verdicts", "verdicts"),
        ("plan", "edits planned", "actions"),
        ("plan", "superseded, taken out", "removed"),
        ("edit", "requests", "status"),
    ):
        if stage in counts:
            table.add_row(label, _counts(counts[stage][key]))
    console.print(table)
    if "plan" in counts and counts["plan"]["refused"]:
        console.print(f"  not edited: {counts['plan']['refused']}")
        _print_reasons(counts["plan"]["refusals"], console)
    if "plan" in counts and counts["plan"]["held"]:
        held = counts["plan"]["held"]
        console.print(f"  waiting for a later edition or a person: {sum(held.values())}")
        _print_reasons(held, console)
    if "plan" in counts and counts["plan"]["sheet"]:
        console.print(f"  on the fact sheet: {counts['plan']['sheet']}, of these sent there now:")
        _print_reasons(counts["plan"]["routed"], console)


def _print_reasons(counts: Mapping[str, int], console: Console) -> None:
    """The commonest first; the rest in one line."""
    reasons = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for reason, number in reasons[:MAX_REASONS]:
        console.print(f"    {number:5}  {reason}", soft_wrap=True)
    if len(reasons) > MAX_REASONS:
        rest = sum(number for _, number in reasons[MAX_REASONS:])
        console.print(f"    {rest:5}  for {len(reasons) - MAX_REASONS} other reasons")


def _print_skips(skips: Sequence[Mapping[str, Any]], console: Console) -> None:
    """What the sources gave that could not be used; every piece is in one of the rows."""
    if not skips:
        return
    table = Table("source", "could not be used", "pieces", "sample", box=None, padding=(0, 1, 0, 0))
    for row in skips[:MAX_REASONS]:
        sample = " ".join(row["sample"].split())
        shown = sample if len(sample) <= MAX_SAMPLE else sample[: MAX_SAMPLE - 3] + "..."
        texts = row["source"], row["reason"], str(row["count"]), shown
        table.add_row(*(Text(text) for text in texts))  # a source's words are no markup
    rest = skips[MAX_REASONS:]
    if rest:
        table.add_row("", f"{len(rest)} other reasons", str(sum(row["count"] for row in rest)), "")
    console.print(table)


def _print_report(report: Mapping[str, Any], console: Console) -> None:
    scores = report["roles"]
    roles = [role for role in ("base", "parent", "candidate", "context") if role in scores]
    table = Table("metric", *roles, "n", "95 %", title="Before and after", title_justify="left")
    for name in ordered(scores["candidate"]):
        metric = scores["candidate"][name]
        if metric["value"] is None:
            continue
        interval = "" if metric["low"] is None else f"{metric['low']:.2f}-{metric['high']:.2f}"
        values = [_number(scores[role].get(name)) for role in roles]
        table.add_row(name, *values, str(metric["n"]), interval)
    console.print(table)


MARKS = {
    "pass": "[green]ok[/]      ",
    "warn": "[yellow]warn[/]    ",
    "unproven": "[yellow]unproven[/]",
    "fail": "[red]FAIL[/]    ",
    "not measured": "[red]no data[/] ",
}


def _print_gate(gate: Mapping[str, Any], console: Console) -> None:
    verdict = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
    console.print(f"Gate {verdict}")
    for check in gate["checks"]:
        sign = ">=" if check["at_least"] else "<="
        edge = check["low"] if check["at_least"] else check["high"]
        interval = "" if edge is None else f"  (95 %: {edge:.3f})"
        value = "-" if check["value"] is None else f"{check['value'] + 0.0:.3f}"
        console.print(
            f"  {MARKS[check['state']]} {check['name']:<22}{value} {sign} "
            f"{check['bound']:.3f}{interval}"
        )
    for alarm in gate["alarms"]:
        console.print(f"  [yellow]{alarm}[/]", soft_wrap=True)
    if gate["search"]:
        probes, culprits = len(gate["search"]["probes"]), gate["search"]["culprits"]
        console.print(f"  searched in {probes} probes: {len(culprits)} edits set aside")
        for edit_id, why in culprits.items():
            console.print(f"    {edit_id}  {why}", soft_wrap=True)


def _counts(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{number} {name}" for name, number in sorted(value.items())) or "none"
    return str(value)


def _number(metric: Mapping[str, Any] | None) -> str:
    return "" if metric is None or metric["value"] is None else f"{metric['value']:.3f}"
