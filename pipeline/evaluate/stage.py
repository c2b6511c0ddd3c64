"""Stage 7: after all edits are in, what holds, what moved, and what it cost.

The same questions go to the unedited base, the parent release (what is served now) and the
candidate; the candidate is the exported checkpoint, loaded as a server would. Nothing is measured
before the whole set is in. `pipeline/evaluate/metrics` says what each number is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from infra.execution.runner import Runner
from infra.lm.inference import Compute, ModelAnswers, ServedModel, ask_models
from infra.lm.matching import begins_with
from infra.models.checkpoint import Checkpoint
from infra.models.loading import ModelRef
from infra.storage.stage_dir import StageDir
from pipeline.evaluate.capability.measure import measure_capability
from pipeline.evaluate.capability.tasks import CapabilityTask, read_tasks
from pipeline.evaluate.cases import Case, CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.fidelity import contamination, exported_well
from pipeline.evaluate.metrics.health.weights import monitors
from pipeline.evaluate.output import FACT_SCHEMA, FACTS, ITEM_SCHEMA, ITEMS, REPORT
from pipeline.evaluate.questions import families, questionnaires
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import Measured, Metric
from pipeline.evaluate.scoring.report import report_of
from pipeline.export.edited import Edited


@dataclass(frozen=True, kw_only=True)
class EvaluateInputs:
    """What an evaluation is made from."""

    cases: CaseSet
    base: ModelRef
    parent: ServedModel | None
    """The release that is served now; None before the first."""
    edited: Edited
    config: EvaluateConfig
    compute: Compute
    seen: Sequence[str] = ()
    """Every text that the editor was given: no held-out question may be in it."""
    tasks: tuple[CapabilityTask, ...] = field(init=False)
    """What `config.capability` names, read."""

    def __post_init__(self) -> None:
        tasks = read_tasks(self.config.capability, self.config.capability_limit)
        object.__setattr__(self, "tasks", tasks)


def evaluate(inputs: EvaluateInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the exports, `report.json`, `facts.parquet` and `items.parquet`; return the candidate's
    numbers."""
    cases, config, compute, parent = inputs.cases, inputs.config, inputs.compute, inputs.parent
    base = ServedModel(name="base", path=inputs.base.path, digest=inputs.base.digest)
    candidate = inputs.edited.candidate(out.path)
    context = replace(base, name="context") if config.context else None
    asked = questionnaires(
        cases, config, base=base, parent=parent, candidate=candidate, context=context
    )
    replies = ask_models(runner, out, asked, compute=compute, tell=out.progress)
    served = candidate.served
    roles = {"base": base, "parent": parent, "candidate": served, "context": context}
    scores = {
        role: score(cases, config, replies[who.name], replies[base.name])
        for role, who in roles.items()
        if who
    }
    scores["candidate"] = {
        **scores["candidate"],
        **monitors(Checkpoint(base.path), Checkpoint(served.path), candidate.edited),
        **contamination(cases, inputs.seen),
        **exported_well(cases, candidate, replies),
    }
    if inputs.tasks:
        able = measure_capability(
            runner, out, (base, served), inputs.tasks, compute=compute, tell=out.progress
        )
        for role, who in (("base", base), ("candidate", served)):
            scores[role] = {**scores[role], **able[who.name]}
    before = replies[parent.name] if parent else replies[base.name]
    facts = [fact(case, replies[base.name], before, replies[served.name]) for case in cases.cases]
    out.write_table(FACTS, pa.Table.from_pylist(facts, schema=FACT_SCHEMA))
    out.write_table(ITEMS, pa.Table.from_pylist(list(items(scores)), schema=ITEM_SCHEMA))
    report = report_of(cases, config, scores)
    out.write_json(REPORT, report)
    numbers = report["roles"]["candidate"]
    return {name: round(m["value"], 4) for name, m in numbers.items() if m["value"] is not None}


def score(
    cases: CaseSet, config: EvaluateConfig, reply: ModelAnswers, base: ModelAnswers
) -> Scores:
    """Every number of one model."""
    answer_set = AnswerSet(
        cases=cases,
        config=config,
        answers=reply.answers,
        base=base.answers,
        texts=reply.texts,
    )
    scores: dict[str, Measured | Metric] = {}
    for family in families(config):
        scores |= family.score(answer_set)
    return {name: s for name, s in scores.items() if isinstance(s, Metric) or s.items}


def fact(
    case: Case, base: ModelAnswers, before: ModelAnswers, after: ModelAnswers
) -> dict[str, Any]:
    """One row of `facts.parquet`."""
    key = question_id("edit", case.id, 0)
    said = {
        name: (reply.answers[key].greedy or "") if key in reply.answers else ""
        for name, reply in (("base", base), ("before", before), ("after", after))
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
