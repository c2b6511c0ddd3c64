"""Stage 7, evaluate: measures an edited model after all edits of the set have been applied.

The same questions go to the unedited base, the parent release (the one that is served now) and the
candidate. The candidate is the exported checkpoint, loaded from disk as a server would load it.
`pipeline/evaluate/metrics` defines the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from infra.execution.runner import Runner
from infra.lm.inference import Compute, ModelAnswers, ServedModel, ask_models
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
from pipeline.evaluate.questions import families, measurable, questionnaires
from pipeline.evaluate.scoring.family import AnswerSet, Scores, question_id
from pipeline.evaluate.scoring.metric import Measured, Metric
from pipeline.evaluate.scoring.report import report_of
from pipeline.export.edited import Edited


@dataclass(frozen=True, kw_only=True)
class EvaluateInputs:
    """Inputs of the evaluation. Raises ConfigError for a capability task that cannot be read."""

    cases: CaseSet
    base: ModelRef
    """The unedited model."""
    parent: ServedModel | None
    """The release that is served now; None before the first release."""
    edited: Edited
    """The edited model, from which the candidate is made."""
    config: EvaluateConfig
    compute: Compute
    system: str | None = None
    """The system prompt of chats, as the models are served; None leaves it to the template."""
    seen: Sequence[str] = ()
    """Every text that the editor was given. No held-out question may be in one of them."""
    lanes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Lane -> ids of the facts in it, among them such as are no cases; empty where all facts are in
    one lane."""
    tasks: tuple[CapabilityTask, ...] = field(init=False)
    """The tasks that `config.capability` names, with their items."""

    def __post_init__(self) -> None:
        tasks = read_tasks(self.config.capability, self.config.capability_limit)
        object.__setattr__(self, "tasks", tasks)


def evaluate(inputs: EvaluateInputs, out: StageDir, runner: Runner) -> dict[str, Any]:
    """Write the exported model, `report.json`, `facts.parquet` and `items.parquet` to `out`.

    Returns the candidate's metrics by name, rounded to 4 digits. Raises ConfigError for an unknown
    metric family, a held-out text that cannot be read, or a missing lm-evaluation-harness, and
    ModelError for a chat template that cannot be filled.
    """
    cases, compute, parent = inputs.cases, inputs.compute, inputs.parent
    config, left_out = measurable(inputs.config, inputs.base.path)
    base = ServedModel(name="base", path=inputs.base.path, digest=inputs.base.digest)
    candidate = inputs.edited.candidate(out.path)
    context = replace(base, name="context") if config.context else None
    asked = questionnaires(
        cases,
        config,
        base=base,
        parent=parent,
        candidate=candidate,
        context=context,
        system=inputs.system,
    )
    replies = ask_models(runner, out, asked, compute=compute, tell=out.progress)
    served = candidate.served
    roles = {"base": base, "parent": parent, "candidate": served, "context": context}
    scores = {
        role: score(cases, config, replies[who.name], replies[base.name], system=inputs.system)
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
    report = report_of(cases, config, scores, left_out, inputs.lanes)
    out.write_json(REPORT, report)
    numbers = report["roles"]["candidate"]
    return {name: round(m["value"], 4) for name, m in numbers.items() if m["value"] is not None}


def score(
    cases: CaseSet,
    config: EvaluateConfig,
    reply: ModelAnswers,
    base: ModelAnswers,
    *,
    system: str | None = None,
) -> Scores:
    """All metrics of one model by name; those without any item are left out.

    `base` are the answers of the unedited model to the same questions, `system` is the system
    prompt of chats.
    """
    answer_set = AnswerSet(
        cases=cases,
        config=config,
        answers=reply.answers,
        base=base.answers,
        texts=reply.texts,
        system=system,
    )
    scores: dict[str, Measured | Metric] = {}
    for family in families(config):
        scores |= family.score(answer_set)
    return {name: s for name, s in scores.items() if isinstance(s, Metric) or s.items}


def fact(
    case: Case, base: ModelAnswers, before: ModelAnswers, after: ModelAnswers
) -> dict[str, Any]:
    """One row of `facts.parquet`: the answers of three models to the case's own prompt.

    `before` is the parent release, or the base where there is none; `after` is the candidate.
    """
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
        "right": case.is_right(said["after"]),
        "right_before": case.is_right(said["before"]),
        "base_answer": said["base"],
        "before_answer": said["before"],
        "answer": said["after"],
    }


def items(scores: Mapping[str, Scores]) -> Iterable[dict[str, Any]]:
    """Rows of `items.parquet`, from the scores of each role."""
    for role, measures in scores.items():
        for metric, measure in measures.items():
            if isinstance(measure, Measured):
                for item, value in measure.items.items():
                    yield {"role": role, "metric": metric, "item": item, "value": value}
