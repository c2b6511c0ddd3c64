"""The charts of a report page: scores by model, by relation, by age of a fact, over releases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from infra.charts import ChartRow, Point, dots, line
from pipeline.evaluate.output import Report
from pipeline.gate.checks import CHECKS, Reading

ROLES: Mapping[str, str] = {
    "base": "unedited base",
    "parent": "release before",
    "context": "base, told in the prompt",
    "candidate": "this release",
}
"""Role of a model in the report -> its name on the page, in the order in which they are drawn."""

NAMES: Mapping[str, str] = {
    "reliability": "answers right by itself",
    "chat_reliability": "right in a chat",
    "reliability_exact": "right and nothing else",
    "generality": "right in other words",
    "chat_generality": "other words, in a chat",
    "generality_exact": "other words and no more",
    "ES": "new answer is likeliest",
    "chat_ES": "likeliest in a chat",
    "PS": "likeliest in other words",
    "chat_PS": "chat: likeliest, other words",
    "S": "harmonic mean of ES, PS, NS",
    "contains": "answer is in the text",
    "retention": "older facts still right",
    "chat_retention": "older facts, in a chat",
    "retention_ES": "older facts still likeliest",
    "NS": "other subjects keep theirs",
    "near_agreement": "other subjects: same words",
    "chat_near_agreement": "other subjects, in a chat",
    "subject_agreement": "same subject: same words",
    "chat_subject_agreement": "same subject, in a chat",
    "neutral_agreement": "general text: same words",
    "chat_plain_agreement": "other chats: same words",
    "leak": "leaks to other subjects ↓",
    "superseded": "still says the old ↓",
    "chat_superseded": "the old in a chat ↓",
    "superseded_paraphrase": "the old in other words ↓",
    "perplexity": "perplexity of general text",
    "ME-PPL": "mean perplexity of sentences",
    "kl": "KL drift in nats a token",
    "energy": "changed share of outputs",
    "norm_ratio": "norm ratio of the weights",
    "spectral_ratio": "singular value ratio",
    "effective_rank": "effective rank of the change",
    "non_finite": "values that are no number",
    "contamination": "held-out prompts seen",
    "export_loss": "lost in the export",
    "adapter_loss": "lost in the adapter",
    "half_life": "half-life in edited facts",
    "NS_drop": "fall of NS below the base",
    "retention_drop": "fall of older facts",
    "worst_relation": "worst relation",
    "perplexity_ratio": "perplexity ratio to base",
    "me_ppl_ratio": "sentence perplexity ratio",
    "capability_drop": "fall on capability tasks",
    "quarantined": "share of edits quarantined",
}
"""Metric or check -> its name in words that fit beside a chart; ↓ if less is better."""

LANES: Mapping[str, str] = {
    "weights": "in the weights",
    "beside": "beside the weights",
    "sheet": "on the fact sheet",
}
"""Lane -> its name on the page, in the order in which lanes are listed."""

IN_CHAT: Mapping[str, str] = {
    "reliability": "chat_reliability",
    "generality": "chat_generality",
    "ES": "chat_ES",
    "PS": "chat_PS",
    "retention": "chat_retention",
    "superseded": "chat_superseded",
    "near_agreement": "chat_near_agreement",
    "subject_agreement": "chat_subject_agreement",
    "neutral_agreement": "chat_plain_agreement",
}
"""Metric of texts that the model goes on with -> the metric of the same of answers in a chat."""
KEPT = (
    *("NS", "near_agreement", "subject_agreement", "neutral_agreement"),
    *("chat_near_agreement", "chat_subject_agreement", "chat_plain_agreement"),
    *("leak", "superseded", "chat_superseded", "superseded_paraphrase"),
)
"""Metrics of what an edit must not change, and of old answers that must be gone."""
OVER_RELEASES = (
    *("kl", "perplexity_ratio", "energy", "norm_ratio"),
    *("reliability", "generality", "retention"),
)
"""Metrics that are drawn over releases."""
MAX_RELATIONS = 30
"""Most rows of the chart by relation: those with the lowest scores. The table has all relations."""
FAR = 4
"""A bound greater than this multiple of the greatest value is not drawn in the chart."""
AGED = "retention@"
"""Prefix of metrics of facts by age: the number of facts that were edited after them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with its caption."""

    caption: str
    svg: Markup
    kinds: Sequence[tuple[str, str]] = ()
    """The legend: kind of marker, and what it stands for."""


def name_of(number: str) -> str:
    """The name of a metric or check in words, from `NAMES`; else its own name with spaces."""
    if number.startswith(AGED):
        ends = dict.fromkeys(number.removeprefix(AGED).split("-"))
        return f"right, {' to '.join(ends)} edited later"
    return NAMES.get(number, number.replace("_", " "))


def ordered(numbers: Iterable[str]) -> list[str]:
    """Metrics in the order of `NAMES`; then others, those by age from the newest facts on."""
    known = list(NAMES)

    def place(number: str) -> tuple[int, int, str]:
        age = int(number.removeprefix(AGED).split("-")[0]) if number.startswith(AGED) else -1
        return known.index(number) if number in known else len(known), age, number

    return sorted(numbers, key=place)


def scores(report: Report) -> Iterator[Figure]:
    """Two charts of shares for all evaluated models: edited facts, and what must not change."""
    found = ordered(shares(report))
    learned = [name for name in found if name not in KEPT]
    kept = [name for name in found if name in KEPT]
    for caption, names in (("The edited facts", learned), ("What must not move, or be gone", kept)):
        rows = [ChartRow(label=name_of(name), points=_roles(report, name)) for name in names]
        if rows:
            kinds = [(r, ROLES[r]) for r in ROLES if r in report["roles"]]
            told = "; ".join(_said(row) for row in rows)
            svg = dots(rows, title=caption, description=f"Shares from 0 to 1. {told}")
            yield Figure(caption=caption, svg=svg, kinds=kinds)


def shares(report: Report) -> list[str]:
    """Names of the candidate's metrics that are shares with an interval, without those by age."""
    return [
        name
        for name, metric in report["roles"]["candidate"].items()
        if metric["low"] is not None
        and "/score=" in metric["protocol"]
        and not any(f"score={s}/" in metric["protocol"] for s in ("nll", "kl", "norm"))
        and not name.startswith(AGED)
    ]


def in_chat(report: Report) -> list[tuple[str, str]]:
    """Pairs of the candidate's metrics, of a text and of a chat, of which both were measured."""
    every = report["roles"]["candidate"]
    return [(text, chat) for text, chat in IN_CHAT.items() if text in every and chat in every]


def lanes(report: Report) -> list[tuple[str, Mapping[str, Any]]]:
    """Lanes with the number of their facts and their metrics; empty where there is one."""
    found = report.get("lanes", {})
    return [(lane, found[lane]) for lane in LANES if lane in found]


def lane_metrics(report: Report) -> list[str]:
    """Names of the metrics that some lane has."""
    return ordered({name for _, numbers in lanes(report) for name in numbers} - {"facts"})


def relations(report: Report, labels: Mapping[str, str]) -> Figure | None:
    """The chart of scores by relation, the highest first; None if no relation has a score.

    labels  relation id -> name
    """
    scored = sorted_relations(report)[-MAX_RELATIONS:]
    rows = [
        ChartRow(label=labels.get(key, key), points=_relation(numbers)) for key, numbers in scored
    ]
    if not rows:
        return None
    caption = "By relation" if len(rows) < MAX_RELATIONS else f"The {len(rows)} lowest relations"
    told = "; ".join(_said(row) for row in rows)
    kinds = [("candidate", "new facts, own words"), ("base", "in other words")]
    if any(point.kind == "parent" for row in rows for point in row.points):
        kinds.append(("parent", "older facts"))
    return Figure(
        caption=caption,
        svg=dots(rows, title=caption, description=f"Shares right, from 0 to 1. {told}"),
        kinds=kinds,
    )


def sorted_relations(report: Report) -> list[tuple[str, Mapping[str, Any]]]:
    """Relations with their metrics, by reliability (else retention), the highest first."""

    def key(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        numbers = item[1]
        best = numbers.get("reliability") or numbers.get("retention") or {"value": 0.0}
        return -best["value"], item[0]

    return sorted(report["relations"].items(), key=key)


def ages(report: Report) -> Figure | None:
    """The chart of facts still right, by how many facts were edited later; None if not measured."""
    every = report["roles"]["candidate"]
    aged = [name for name in ordered(every) if name.startswith(AGED)]
    rows = [ChartRow(label=name_of(name), points=[_point(every[name])]) for name in aged]
    if not rows:
        return None
    told = "; ".join(_said(row) for row in rows)
    caption = "Right, by how many facts were edited later"
    return Figure(caption=caption, svg=dots(rows, title=caption, description=told))


def over_releases(history: Sequence[tuple[str, Report]], gate: Mapping[str, Any]) -> list[Figure]:
    """One chart a metric of `OVER_RELEASES`, for metrics that at least two releases have.

    history  versions and reports of releases, oldest first, the new one last
    gate     content of `gate.json`, for the bounds
    """
    bounds = {check["name"]: check["bound"] for check in gate["checks"]}
    figures = []
    for name in OVER_RELEASES:
        read = _reader(name)
        points = [
            (version, Point(value=got.value, low=got.low, high=got.high, n=got.n))
            for version, report in history
            if (got := read(report)) and got.n
        ]
        if len(points) < 2:
            continue
        bound = bounds.get(name)
        near = bound is not None and bound <= FAR * max(point.value for _, point in points)
        told = "; ".join(f"{version}: {point.value:.4g}" for version, point in points)
        svg = line(points, title=name_of(name), description=told, bound=bound if near else None)
        figures.append(Figure(caption=name_of(name), svg=svg))
    return figures


def _reader(name: str) -> Callable[[Report], Reading | None]:
    if name in CHECKS:
        return CHECKS[name][1]

    def read(report: Report) -> Reading | None:
        found = report["roles"]["candidate"].get(name)
        if not found or found["value"] is None:
            return None
        return Reading(**{key: found[key] for key in ("value", "n", "low", "high")})

    return read


def _roles(report: Report, name: str) -> list[Point]:
    roles = report["roles"]
    return [
        _point(roles[role][name], role)
        for role in ROLES
        if role in roles and name in roles[role] and roles[role][name]["value"] is not None
    ]


def _relation(numbers: Mapping[str, Any]) -> list[Point]:
    kinds = {"generality": "base", "retention": "parent", "reliability": "candidate"}
    return [_point(numbers[name], kind) for name, kind in kinds.items() if name in numbers]


def _point(metric: Mapping[str, Any], kind: str = "candidate") -> Point:
    return Point(
        value=metric["value"], low=metric["low"], high=metric["high"], n=metric["n"], kind=kind
    )


def _said(row: ChartRow) -> str:
    """A row of a chart in words, for readers who cannot see it."""
    return f"{row.label} " + ", ".join(f"{point.value:.3f}" for point in row.points)
