"""Stage 7: after all edits are in, what holds, what moved, and what it cost.

The same questions go to the unedited base, the parent release (what is served now) and the
candidate; the candidate is the exported checkpoint, loaded as a server would. Nothing is measured
before the whole set is in. `pipeline/metrics` says what each number is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from infra.execution.runner import Runner
from infra.lm.inference import Compute, Examinee, Paper, examine
from infra.lm.matching import begins_with, normalise
from infra.models.checkpoint import Checkpoint
from infra.storage.stage_dir import StageDir
from pipeline.cases import Case, CaseSet
from pipeline.exam import Candidate, exams, families
from pipeline.metrics import capability
from pipeline.metrics.family import EvaluateConfig, Heard, Scores, question_id
from pipeline.metrics.metric import Measured, Metric, difference, parts
from pipeline.metrics.weights import monitors
from pipeline.task import read_tasks

REPORT = "report.json"
FACTS = "facts.parquet"
ITEMS = "items.parquet"
COMPARED = (("candidate", "base"), ("candidate", "parent"), ("context", "candidate"))
"""Pairs of roles whose differences are in the report."""

FACT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("new", pa.bool_()),
        ("relation", pa.string()),
        ("subject", pa.string()),
        ("prompt", pa.string()),
        ("target", pa.string()),
        ("old", pa.list_(pa.string())),
        ("right", pa.bool_()),
        ("right_before", pa.bool_()),
        ("base_answer", pa.string()),
        ("before_answer", pa.string()),
        ("answer", pa.string()),
    ]
)
"""One edit, for people: `before` is the parent release, the base where there is none."""
ITEM_SCHEMA = pa.schema(
    [("role", pa.string()), ("metric", pa.string()), ("item", pa.string()), ("value", pa.float64())]
)
"""Every number fact by fact."""


def evaluate(
    cases: CaseSet,
    *,
    base: Examinee,
    parent: Examinee | None,
    candidate: Candidate,
    seen: Iterable[str] = (),
    config: EvaluateConfig,
    compute: Compute,
    out: StageDir,
    runner: Runner,
) -> dict[str, Any]:
    """Write `report.json`, `facts.parquet` and `items.parquet`; return the candidate's numbers.

    `seen` is every text that the editor was given: no held-out question may be in it.
    """
    context = replace(base, name="context") if config.context else None
    asked = exams(cases, config, base=base, parent=parent, candidate=candidate, context=context)
    papers = examine(runner, out, asked, compute=compute, tell=out.progress)
    served = candidate.served
    roles = {"base": base, "parent": parent, "candidate": served, "context": context}
    scores = {
        role: score(cases, config, papers[who.name], papers[base.name])
        for role, who in roles.items()
        if who
    }
    scores["candidate"] = {
        **scores["candidate"],
        **monitors(Checkpoint(base.path), Checkpoint(served.path), candidate.edited),
        **contamination(cases, seen),
        **exported_well(cases, candidate, papers),
    }
    if config.capability:
        tasks = read_tasks(config.capability, config.capability_limit)
        able = capability.measure(
            runner, out, (base, served), tasks, compute=compute, tell=out.progress
        )
        for role, who in (("base", base), ("candidate", served)):
            scores[role] = {**scores[role], **able[who.name]}
    before = papers[parent.name] if parent else papers[base.name]
    facts = [fact(case, papers[base.name], before, papers[served.name]) for case in cases.cases]
    out.write_table(FACTS, pa.Table.from_pylist(facts, schema=FACT_SCHEMA))
    out.write_table(ITEMS, pa.Table.from_pylist(list(items(scores)), schema=ITEM_SCHEMA))
    report = report_of(cases, config, scores)
    out.write_json(REPORT, report)
    numbers = report["roles"]["candidate"]
    return {name: round(m["value"], 4) for name, m in numbers.items() if m["value"] is not None}


def report_of(
    cases: CaseSet, config: EvaluateConfig, scores: Mapping[str, Scores]
) -> dict[str, Any]:
    """`report.json`: every number by role, what changed between roles, and by relation."""
    return {
        "schema": 2,
        "families": list(config.metrics),
        "data": {"name": cases.name, "digest": cases.digest, "cases": len(cases.cases)},
        "systems": {
            "candidate": {"mode": f"batch:{len(cases.cases)}", "context": False},
            "context": {"mode": "none", "context": True},
        },
        "roles": {role: summary(measures) for role, measures in scores.items()},
        "differences": differences(scores, cases),
        "relations": by_relation(scores["candidate"], cases),
    }


def score(cases: CaseSet, config: EvaluateConfig, paper: Paper, base: Paper) -> Scores:
    """Every number of one model."""
    heard = Heard(
        cases=cases,
        config=config,
        answers=paper.answers,
        base=base.answers,
        texts=paper.texts,
    )
    scores: dict[str, Measured | Metric] = {}
    for family in families(config):
        scores |= family.score(heard)
    return {name: s for name, s in scores.items() if isinstance(s, Metric) or s.items}


def summary(scores: Scores) -> dict[str, Any]:
    """As JSON: each number with its count, interval and protocol."""
    return {name: as_json(s if isinstance(s, Metric) else s.metric()) for name, s in scores.items()}


def differences(scores: Mapping[str, Scores], cases: CaseSet) -> dict[str, dict[str, Any]]:
    """Pairs of roles, number by number, on the facts that both were asked about.

    Of perplexity it is the difference of its logarithm: exp of it is the ratio.
    """
    subjects = {case.id: normalise(case.subject) for case in cases.cases}
    found: dict[str, dict[str, Any]] = {}
    for one, two in COMPARED:
        if one in scores and two in scores:
            pairs = {name: (a, scores[two].get(name)) for name, a in scores[one].items()}
            found[f"{one}-{two}"] = {
                name: as_json(difference(a, b, subjects))
                for name, (a, b) in pairs.items()
                if isinstance(a, Measured) and isinstance(b, Measured)
            }
    return found


def by_relation(scores: Scores, cases: CaseSet) -> dict[str, dict[str, Any]]:
    """The candidate's own words, relation by relation."""
    relations = {case.id: case.relation for case in cases.cases}
    found: dict[str, dict[str, Any]] = {}
    for name in ("reliability", "generality", "retention"):
        whole = scores.get(name)
        if not isinstance(whole, Measured):
            continue
        for relation, part in parts(whole, relations).items():
            found.setdefault(relation, {})[name] = as_json(part.metric())
    return found


def contamination(cases: CaseSet, seen: Iterable[str]) -> dict[str, Metric]:
    """Held-out prompts that the editor was given, as whole words of one text, as a share of all: a
    number that must be 0."""
    held_out = {prompt: normalise(prompt) for prompt in cases.prompts_held_out()}
    given = "".join(f" {normalise(text)} \n" for text in seen)
    leaked = sum(1 for prompt in held_out.values() if prompt and f" {prompt} " in given)
    n = len(held_out)
    label = "decode=none/score=text"
    return {"contamination": Metric(value=leaked / max(1, n), n=n, protocol=label)}


def exported_well(
    cases: CaseSet, candidate: Candidate, papers: Mapping[str, Paper]
) -> dict[str, Metric]:
    """Facts that the edited model knows in memory and no longer as it is served: in the checkpoint,
    and with the adapter."""
    if not candidate.memory:
        return {}
    exports = {"export_loss": candidate.served, "adapter_loss": candidate.adapter}
    memory = papers[candidate.memory.name]
    return {
        name: lost(cases, memory, papers[export.name]) for name, export in exports.items() if export
    }


def lost(cases: CaseSet, memory: Paper, served: Paper) -> Metric:
    """Share of the facts right in one that are wrong in the other, on their own prompts."""
    known = gone = 0
    for case in cases.cases:
        key = question_id("edit", case.id, 0)
        inside, outside = memory.answers.get(key), served.answers.get(key)
        if inside and outside and inside.greedy is not None and outside.greedy is not None:
            right = begins_with(inside.greedy, case.accepted) is not None
            known += right
            gone += right and begins_with(outside.greedy, case.accepted) is None
    label = f"decode=greedy/prompt=raw/score=alias/data={cases.name}@{cases.digest[:12]}"
    return Metric(value=gone / max(1, known), n=known, protocol=label)


def fact(case: Case, base: Paper, before: Paper, after: Paper) -> dict[str, Any]:
    """One row of `facts.parquet`."""
    key = question_id("edit", case.id, 0)
    said = {
        name: (paper.answers[key].greedy or "") if key in paper.answers else ""
        for name, paper in (("base", base), ("before", before), ("after", after))
    }
    return {
        "id": case.id,
        "new": case.new,
        "relation": case.relation,
        "subject": case.subject,
        "prompt": case.prompt,
        "target": case.target,
        "old": case.old,
        "right": begins_with(said["after"], case.accepted) is not None,
        "right_before": begins_with(said["before"], case.accepted) is not None,
        "base_answer": said["base"],
        "before_answer": said["before"],
        "answer": said["after"],
    }


def items(scores: Mapping[str, Scores]) -> Iterable[dict[str, Any]]:
    """Rows of `items.parquet`."""
    for role, measures in scores.items():
        for metric, measure in measures.items():
            if isinstance(measure, Measured):
                for item, value in measure.items.items():
                    yield {"role": role, "metric": metric, "item": item, "value": value}


def as_json(metric: Metric) -> dict[str, Any]:
    """A metric as JSON, where there is no infinity and no NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(metric).items()
    }
