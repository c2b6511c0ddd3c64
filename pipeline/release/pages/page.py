"""What an edition came to, as one HTML file that needs nothing else: verdict first, then the proof.

Pure: from the report, the gate, the facts and the reasons to text. Every measured number stands in
a `data` element (in a chart, in `data-value`) with its full value, so that the page can be checked
against `report.json` beside it. No script, and a policy that lets the page fetch nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from infra.charts import legend, shown
from pipeline.evaluate.output import Report
from pipeline.gate.bounds import Bound, GateConfig
from pipeline.plan.edits import PlannedEdit, Refusal
from pipeline.release.pages import figures

NUM_FACTS = 20
"""Facts that are shown at once; the rest is behind a click."""
NUM_CHECKS = 4
"""Checks that the verdict names, or one fewer and how many more."""
NUM_SUBJECTS = 4
"""Subjects named for one reason of refusal."""
MARKS = {
    "pass": ("right", "✓ pass"),
    "warn": ("doubt", "! warn"),
    "unproven": ("doubt", "? unproven"),
    "fail": ("wrong", "✗ fail"),
    "not measured": ("wrong", "? no data"),
}
"""State of a check -> its class, and what it says without colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInputs:
    """All that the page tells."""

    version: str
    line: str
    parent: str | None
    as_of: str
    report: Report
    gate: Mapping[str, Any]
    """`gate.json`."""
    facts: Sequence[Mapping[str, Any]]
    """Rows of `facts.parquet`."""
    quarantined: Sequence[tuple[PlannedEdit, str]] = ()
    """Planned edits that were refused or set aside, each with its reason."""
    refusals: Sequence[Refusal] = ()
    search: Mapping[str, Any] | None = None
    """The search for culprits, from the gate that began it."""
    history: Sequence[tuple[str, Report]] = ()
    """Versions and reports of the releases before, oldest first."""
    relations: Mapping[str, str] = field(default_factory=dict)
    """Label of each relation."""
    provenance: Mapping[str, str | None] = field(default_factory=dict)
    """What the edition was made from, by name; None is left out."""


def render_page(inputs: PageInputs) -> str:
    """The page of a release, or of a candidate that failed its gate."""
    environment = Environment(
        loader=PackageLoader("pipeline.release.pages", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "measured": measured, "named": figures.name_of}
    facts = sorted(inputs.facts, key=_order)
    return environment.get_template("page.html.j2").render(
        page=inputs,
        report=inputs.report,
        verdict=verdict(inputs),
        facts=(facts[:NUM_FACTS], facts[NUM_FACTS:]),
        scores=list(figures.scores(inputs.report)),
        relations=figures.relations(inputs.report, inputs.relations),
        by_relation=figures.sorted_relations(inputs.report),
        ages=figures.ages(inputs.report),
        curves=figures.over_releases(
            [*inputs.history, (inputs.version, inputs.report)], inputs.gate
        ),
        every=figures.ordered(inputs.report["roles"]["candidate"]),
        drift=drift(inputs.report),
        defaults={name: weaker_than(name, c) for name, c in _by_name(inputs.gate).items()},
        marks=MARKS,
        roles=figures.ROLES,
        legend=legend,
        reasons=reasons(inputs.refusals),
        tree=search_tree(inputs.search, names(inputs)) if inputs.search else None,
    )


def number(value: float | None) -> Markup:
    """A number as it is printed, with its full value; a dash for none."""
    if value is None:
        return Markup("&ndash;")
    return Markup('<data value="{}">{}</data>').format(value, shown(value))


def measured(metric: Mapping[str, Any] | None) -> Markup:
    """A number with its interval, where it has one; a dash for none."""
    if not metric or metric["value"] is None:
        return Markup("&ndash;")
    value = Markup("<b>{}</b>").format(number(metric["value"]))
    if metric["low"] is None:
        return value
    interval = Markup(' <span class="interval">[{}, {}]</span>')
    return value + interval.format(number(metric["low"]), number(metric["high"]))


def verdict(inputs: PageInputs) -> str:
    """One paragraph for whoever decides: what changed, what holds, what else moved."""
    new = [fact for fact in inputs.facts if fact["new"]]
    right = sum(fact["right"] for fact in new)
    new_here = f"{_are(len(new))} new to the model"
    since = f"changed since {inputs.parent}" if inputs.parent else new_here
    said = [f"{_facts(len(new))} {since}; {right} {_are(right)} right now."]
    old = [fact for fact in inputs.facts if not fact["new"]]
    if old:
        still = sum(fact["right"] for fact in old)
        said.append(
            f"Of {_facts(len(old))} from earlier releases, {still} {_are(still)} still right."
        )
    checks = inputs.gate["checks"]
    outside = [_called(c["name"]) for c in checks if c["blocks"]]
    doubted = [_called(c["name"]) for c in checks if not c["blocks"] and c["state"] != "pass"]
    if outside:
        said.append(f"Not released, for what is not within its bounds: {_list(outside)}.")
    elif doubted:
        said.append(
            f"Nothing that blocks a release moved beyond its bound; {_list(doubted)} "
            f"{'needs' if len(doubted) == 1 else 'need'} a look."
        )
    else:
        said.append("Nothing else moved beyond its bounds.")
    weaker = sum(weaker_than(c["name"], c) is not None for c in checks)
    if weaker:
        said.append(f"{weaker} of {len(checks)} bounds are weaker than the defaults.")
    return " ".join(said)


def weaker_than(name: str, check: Mapping[str, Any]) -> float | None:
    """The default bound, where this check's own allows more; None where it does not."""
    default = GateConfig.model_fields[name].default
    if not isinstance(default, Bound):
        return None
    sign = 1 if check["at_least"] else -1
    return default.bound if sign * (check["bound"] - default.bound) < 0 else None


def drift(report: Report) -> list[str]:
    """The candidate's numbers that are in no chart of shares: text, weights, integrity."""
    charted = figures.shares(report)
    every = report["roles"]["candidate"]
    return figures.ordered(n for n in every if n not in charted and not n.startswith(figures.AGED))


def reasons(refusals: Sequence[Refusal]) -> list[tuple[int, str, list[str]]]:
    """How many changes were not edited for each reason, the commonest first, with some subjects."""
    counts = Counter(refusal.reason for refusal in refusals)
    named: dict[str, list[str]] = {}
    for refusal in refusals:
        named.setdefault(refusal.reason, []).append(refusal.subject_label or refusal.subject)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        (count, reason, list(dict.fromkeys(named[reason]))[:NUM_SUBJECTS])
        for reason, count in ranked
    ]


def names(inputs: PageInputs) -> dict[str, str]:
    """What each edit is called: subject and target."""
    found = {fact["id"]: f"{fact['subject']} → {fact['target']}" for fact in inputs.facts}
    for edit, _ in inputs.quarantined:
        found[edit.id] = f"{edit.subject_label} → {edit.target}"
    return found


def search_tree(search: Mapping[str, Any], called: Mapping[str, str]) -> list[dict[str, Any]]:
    """The probes as a tree, each below the part that it was cut from. A node has its number of
    edits, the name of a single one, the sentences of checks that failed, and its parts."""
    roots: list[dict[str, Any]] = []
    seen: list[tuple[set[str], dict[str, Any]]] = []
    for probe in search["probes"]:
        ids = set(probe["ids"])
        node = {
            "size": len(ids),
            "name": called.get(probe["ids"][0], probe["ids"][0]) if len(ids) == 1 else "",
            "failed": probe["failed"],
            "parts": [],
        }
        above = [(len(whole), other) for whole, other in seen if ids < whole]
        siblings = min(above, key=lambda pair: pair[0])[1]["parts"] if above else roots
        siblings.append(node)
        seen.append((ids, node))
    return roots


def _order(fact: Mapping[str, Any]) -> tuple[Any, ...]:
    """Corrections, then what is new, then what was carried; in each, what is wrong first."""
    return not fact["new"], not fact["old"], fact["right"], fact["subject"], fact["id"]


def _by_name(gate: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {check["name"]: check for check in gate["checks"]}


def _facts(count: int) -> str:
    return f"{count} fact" if count == 1 else f"{count} facts"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _called(check: str) -> str:
    words = figures.name_of(check).removesuffix(" ↓")
    return words if words == check else f"{words} ({check})"


def _list(words: Sequence[str]) -> str:
    if len(words) > NUM_CHECKS:
        words = [*words[: NUM_CHECKS - 1], f"{len(words) - NUM_CHECKS + 1} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
