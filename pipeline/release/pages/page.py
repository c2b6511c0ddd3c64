"""The report page of an edition: one HTML file with the outcome first, then the measurements.

A pure function of its inputs. Every measured number is in a `data` element (in a chart, in a
`data-value` attribute) with its full value, so that the page can be checked against `report.json`
in the same directory. The page has no script, and its content policy forbids it to load anything.
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
"""Facts that are shown at once; the others are in a section that opens on a click."""
NUM_CHECKS = 4
"""Most checks that the first paragraph names; if there are more, it names one fewer and says how
many others there are."""
NUM_SUBJECTS = 4
"""Most subjects named for one reason of refusal."""
MARKS = {
    "pass": ("right", "✓ pass"),
    "warn": ("doubt", "! warn"),
    "unproven": ("doubt", "? unproven"),
    "fail": ("wrong", "✗ fail"),
    "not measured": ("wrong", "? no data"),
}
"""State of a check -> its CSS class, and its text, which needs no colour to be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInputs:
    """Inputs of the page."""

    version: str
    line: str
    parent: str | None
    """Version of the release before; None for the first."""
    as_of: str
    """Day of the edition, an ISO date."""
    report: Report
    gate: Mapping[str, Any]
    """Content of `gate.json`."""
    facts: Sequence[Mapping[str, Any]]
    """Rows of `facts.parquet`."""
    quarantined: Sequence[tuple[PlannedEdit, str]] = ()
    """Planned edits that were refused or set aside, each with its reason."""
    refusals: Sequence[Refusal] = ()
    search: Mapping[str, Any] | None = None
    """Record of the search for culprits, if there was one."""
    history: Sequence[tuple[str, Report]] = ()
    """Versions and reports of earlier releases, oldest first."""
    relations: Mapping[str, str] = field(default_factory=dict)
    """Relation id -> name."""
    provenance: Mapping[str, str | None] = field(default_factory=dict)
    """What the edition was made from, as name -> digest or name; None is left out."""


def render_page(inputs: PageInputs) -> str:
    """The HTML page of a release, or of a candidate that failed its gate."""
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
        in_chat=figures.in_chat(inputs.report),
        lanes=figures.lanes(inputs.report),
        lane_names=figures.LANES,
        lane_metrics=figures.lane_metrics(inputs.report),
        defaults={name: weaker_than(name, c) for name, c in _by_name(inputs.gate).items()},
        marks=MARKS,
        roles=figures.ROLES,
        legend=legend,
        reasons=reasons(inputs.refusals),
        tree=search_tree(inputs.search, names(inputs)) if inputs.search else None,
    )


def number(value: float | None) -> Markup:
    """HTML of a rounded number, with its full value in a `data` element; a dash for None."""
    if value is None:
        return Markup("&ndash;")
    return Markup('<data value="{}">{}</data>').format(value, shown(value))


def measured(metric: Mapping[str, Any] | None) -> Markup:
    """HTML of a metric's value, with its interval if it has one; a dash for None."""
    if not metric or metric["value"] is None:
        return Markup("&ndash;")
    value = Markup("<b>{}</b>").format(number(metric["value"]))
    if metric["low"] is None:
        return value
    interval = Markup(' <span class="interval">[{}, {}]</span>')
    return value + interval.format(number(metric["low"]), number(metric["high"]))


def verdict(inputs: PageInputs) -> str:
    """The first paragraph: how many facts are right, and which checks failed or need a look."""
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
    """The default bound of a check, if the bound that was used allows more; else None."""
    default = GateConfig.model_fields[name].default
    if not isinstance(default, Bound):
        return None
    sign = 1 if check["at_least"] else -1
    return default.bound if sign * (check["bound"] - default.bound) < 0 else None


def drift(report: Report) -> list[str]:
    """Names of the candidate's metrics in no chart of shares: those of text, weights, exports."""
    charted = figures.shares(report)
    every = report["roles"]["candidate"]
    return figures.ordered(n for n in every if n not in charted and not n.startswith(figures.AGED))


def reasons(refusals: Sequence[Refusal]) -> list[tuple[int, str, list[str]]]:
    """Count, reason and some subjects of the changes not edited, the commonest reason first."""
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
    """Edit id -> subject and target, as the page names the edit."""
    found = {fact["id"]: f"{fact['subject']} → {fact['target']}" for fact in inputs.facts}
    for edit, _ in inputs.quarantined:
        found[edit.id] = f"{edit.subject_label} → {edit.target}"
    return found


def search_tree(search: Mapping[str, Any], called: Mapping[str, str]) -> list[dict[str, Any]]:
    """The trials of a search as a tree, in which the parts of a trial's edits are its children.

    called  edit id -> name on the page

    A node has the number of its edits (`size`), the name of a single edit, the sentences of failed
    checks, and its `parts`.
    """
    roots: list[dict[str, Any]] = []
    seen: list[tuple[set[str], dict[str, Any]]] = []
    for trial in search["probes"]:
        ids = set(trial["ids"])
        node = {
            "size": len(ids),
            "name": called.get(trial["ids"][0], trial["ids"][0]) if len(ids) == 1 else "",
            "failed": trial["failed"],
            "parts": [],
        }
        above = [(len(whole), other) for whole, other in seen if ids < whole]
        siblings = min(above, key=lambda pair: pair[0])[1]["parts"] if above else roots
        siblings.append(node)
        seen.append((ids, node))
    return roots


def _order(fact: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key: corrections, new facts, facts of earlier releases; in each, wrong answers first."""
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
