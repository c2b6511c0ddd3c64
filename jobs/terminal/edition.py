"""What `corrigenda run` prints at its end: changes, edits, metrics, gate, commands to try next."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.display import line
from infra.storage.workspace import Workspace
from jobs.terminal.sentences import sentence
from jobs.terminal.words import ROUTED, many, refused, waits
from pipeline.release.pages.figures import ROLES, name_of, ordered

OVER_LIMIT = """\
  What is over a limit is on the fact sheet until a later edition takes it up: first the
  facts that the model already holds an edit of, then those of the best known subjects."""
"""What becomes of the changes over a limit of the probe or the plan."""
MAX_REASONS = 8
"""Most reasons in a list; the others are counted in one line."""
MAX_SAMPLE = 40
"""Most characters shown of a piece of a source that was left out."""
MAIN_METRICS = (
    *("reliability", "chat_reliability", "generality", "chat_generality", "retention"),
    *("superseded", "chat_superseded", "near_agreement", "chat_near_agreement", "leak"),
    *("perplexity", "capability"),
)
"""Metrics that are printed without `--verbose`, if they were measured."""


def print_edition(summary: Mapping[str, Any], console: Console, *, verbose: bool = False) -> None:
    """Print the summary of an edition (`pipeline.queries.summary.summarise`).

    verbose  whether all metrics and all checks of the gate are printed, instead of the main ones
    """
    counts = {name: stage["counts"] for name, stage in summary["stages"].items()}
    console.print()
    console.rule(Text(f"Edition {summary['version']}", "bold"))
    _print_counts(counts, console)
    if "plan" in counts:
        _print_plan(counts["plan"], console)
    _print_skips(summary["skips"], console)
    if "report" in summary:
        _print_report(summary["report"], console, verbose=verbose)
    _print_examples(summary.get("examples", ()), console)
    if "gate" in summary:
        _print_gate(summary["gate"], console, verbose=verbose)
    if "release" in summary:
        release = summary["release"]
        _heading("Release", console)
        console.print(
            Text.assemble(
                "  Version ",
                (summary["version"], "bold"),
                f" holds {many(release['edits'], 'edit')} (id {release['release_id'][:12]}): "
                f"{release['path']}",
            ),
            soft_wrap=True,
        )
    if summary["page"]:
        console.print(f"Report: {summary['page']}", soft_wrap=True)


def print_next(summary: Mapping[str, Any], workspace: Workspace, console: Console) -> None:
    """Print commands to try next, each with its purpose."""
    here = workspace.root == Path.cwd() / "workspace"
    where = "" if here else f" --workspace {shlex.quote(line(workspace.address))}"
    program = os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else sys.argv[0]
    examples = [example["prompt"] for example in summary.get("examples", ())]
    prompt = shlex.quote(line(examples[0] if examples else "The capital of France is"))
    _heading("What to do next", console)
    for command, purpose in (
        (f"ask {prompt}", "compare the unedited model and the release"),
        (f"why {prompt}", "see what was decided about a fact, and on whose word"),
        ("releases", "list the releases and their reports"),
        ("status", "see how far each edition is"),
        ("rollback", "return production to the release before"),
    ):
        console.print(f"  {purpose}:")
        console.print(f"    {program} {command}{where}", soft_wrap=True)


def _heading(text: str, console: Console) -> None:
    console.print(Text(f"\n{text}", "bold"))


def _print_counts(counts: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print what stages found and did, one sentence each."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for stage, label in (
        ("snapshot", "What the sources say"),
        ("diff", "What changed"),
        ("probe", "What the model believed"),
        ("plan", "What was planned"),
        ("edit", "What was edited"),
    ):
        if stage in counts:
            table.add_row(label, Text(sentence(stage, counts[stage])))
    if table.row_count:
        console.print(table)


def _print_plan(plan: Mapping[str, Any], console: Console) -> None:
    """Print how many changes were not edited, wait, or are on the fact sheet, by reason."""
    held, routed, refusals = Counter[str](), Counter[str](), Counter[str]()
    for key, number in plan["held"].items():
        held[waits(key)] += number
    for rule, number in plan["routed"].items():
        routed[ROUTED.get(rule, rule)] += number
    for reason, number in plan["refusals"].items():
        refusals[refused(reason)] += number
    total = sum(held.values())
    if plan["refused"]:
        _heading(f"Not edited: {many(plan['refused'], 'change')}", console)
        _print_reasons(refusals, console)
    if total:
        _heading(f"Waiting for a later edition or a person: {many(total, 'change')}", console)
        _print_reasons(held, console)
        if any(key.endswith(" budget") for key in plan["held"]):
            console.print(OVER_LIMIT)
    if plan["sheet"]:
        _heading(f"On the fact sheet, for retrieval: {many(plan['sheet'], 'fact')}", console)
        if routed:
            console.print(f"  {sum(routed.values()):,} of them were sent there now:")
            _print_reasons(routed, console)


def _print_reasons(counts: Mapping[str, int], console: Console) -> None:
    """Print the most frequent reasons with their counts, and the others in one line."""
    reasons = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for reason, number in reasons[:MAX_REASONS]:
        console.print(f"  {number:7,}  {line(reason)}", soft_wrap=True)
    if len(reasons) > MAX_REASONS:
        rest = sum(number for _, number in reasons[MAX_REASONS:])
        console.print(f"  {rest:7,}  for {many(len(reasons) - MAX_REASONS, 'other reason')}")


def _print_skips(skips: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what was left out of the sources; every piece is counted in one row."""
    if not skips:
        return
    num_pieces = sum(row["count"] for row in skips)
    _heading(f"Left out of the sources: {many(num_pieces, 'piece')}", console)
    table = Table("source", "reason", "pieces", "example", box=None, padding=(0, 1, 0, 2))
    for row in skips[:MAX_REASONS]:
        sample = " ".join(row["sample"].split())
        shown = sample if len(sample) <= MAX_SAMPLE else sample[: MAX_SAMPLE - 3] + "..."
        texts = row["source"], row["reason"], str(row["count"]), shown
        table.add_row(*map(line, texts))
    rest = skips[MAX_REASONS:]
    if rest:
        total = str(sum(row["count"] for row in rest))
        table.add_row("", many(len(rest), "other reason"), total, "")
    console.print(table)


def _print_report(report: Mapping[str, Any], console: Console, *, verbose: bool) -> None:
    """Print the metrics of all evaluated models: the main ones, or all."""
    scores = report["roles"]
    roles = [role for role in ROLES if role in scores]
    measured = [n for n, m in scores["candidate"].items() if m["value"] is not None]
    shown = [n for n in ordered(measured) if verbose or n in MAIN_METRICS] or ordered(measured)
    _heading("Before and after", console)
    heads = ["", *(ROLES[role] for role in roles), "95 % interval", "asked"]
    table = Table(*heads, *(["metric"] if verbose else []), box=None, padding=(0, 1, 0, 2))
    for name in shown:
        metric = scores["candidate"][name]
        interval = "" if metric["low"] is None else f"{metric['low']:.2f}-{metric['high']:.2f}"
        values = [_number(scores[role].get(name)) for role in roles]
        cells = [name_of(name), *values, interval, str(metric["n"])]
        table.add_row(*cells, *([name] if verbose else []))
    console.print(table)
    if left_out := len(measured) - len(shown):
        console.print(f"  {many(left_out, 'more number')}: run again with -v, or see the report.")


def _print_examples(examples: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print facts that the model had wrong before the edit and has right now."""
    if not examples:
        return
    _heading("For example", console)
    for example in examples:
        console.print(Text(f"  {line(example['prompt'])}", "bold"))
        console.print(f"      before  {line(example['before_answer']) or '(nothing)'}")
        console.print(Text.assemble("      now     ", (line(example["answer"]), "green")))


MARKS = {
    "pass": "[green]ok[/]          ",
    "warn": "[yellow]warning[/]     ",
    "unproven": "[yellow]not proven[/]  ",
    "fail": "[red]FAILED[/]      ",
    "not measured": "[red]not measured[/]",
}


def _print_gate(gate: Mapping[str, Any], console: Console, *, verbose: bool) -> None:
    """Print whether the candidate passed, and the checks that did not pass, or all checks."""
    checks = gate["checks"]
    num_passed = sum(check["state"] == "pass" for check in checks)
    verdict = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
    told = f"\n[bold]Gate {verdict}[/]: {num_passed} of {many(len(checks), 'check')} passed"
    console.print(told, markup=True)
    for check in checks:
        if not verbose and check["state"] == "pass":
            continue
        sign = "at least" if check["at_least"] else "at most"
        edge = check["low"] if check["at_least"] else check["high"]
        interval = "" if edge is None else f" (95 % sure of {edge:.3f})"
        value = "-" if check["value"] is None else f"{check['value'] + 0.0:.3f}"
        console.print(
            f"  {MARKS[check['state']]}  {name_of(check['name'])} ({check['name']}): "
            f"{value}, allowed {sign} {check['bound']:.3f}{interval}",
            soft_wrap=True,
            markup=True,
        )
    for family, reason in gate.get("left_out", {}).items():  # releases of before have none
        console.print(f"  not checked  {family}: {line(reason)}", soft_wrap=True)
    for alarm in gate["alarms"]:
        console.print(Text(f"  {line(alarm)}", "yellow"), soft_wrap=True)
    if gate["search"]:
        trials, culprits = len(gate["search"]["probes"]), gate["search"]["culprits"]
        capacity = gate["search"].get("capacity")  # releases of before have none
        if culprits or not capacity:
            console.print(
                f"  {many(len(culprits), 'edit')} set aside as harmful, found in "
                f"{many(trials, 'trial')}:"
            )
        for edit_id, why in culprits.items():
            console.print(f"    {edit_id}  {line(why)}", soft_wrap=True)
        if capacity:
            console.print(
                f"  {many(capacity['passed'], 'fact')} of the highest priority fit into the "
                f"weights, {capacity['failed']} do not (found in {many(trials, 'trial')}): "
                f"{many(len(capacity['moved']), 'fact')} moved",
                soft_wrap=True,
            )


def _number(metric: Mapping[str, Any] | None) -> str:
    return "" if metric is None or metric["value"] is None else f"{metric['value']:.3f}"
