"""General capability of a model after editing: accuracy on multiple-choice tasks of
lm-evaluation-harness.

capability              mean accuracy over the tasks, all with the same weight
capability/<task>       share of items whose right choice has the greatest log-likelihood (acc)
capability_norm/<task>  the same with the log-likelihood a character (acc_norm)

The harness writes the prompts and scores the likelihoods, but its own model does not compute them:
`LanguageModel.ask` does. The harness's model runs prompt and answer in one pass, in which an edit
that acts at the last token of a prompt (GRACE) would have no effect.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import pyarrow as pa
from pyarrow.parquet import read_table

from infra.errors import ConfigError
from infra.execution.runner import Runner
from infra.lm.inference import AnswerWorker, Compute, ServedModel
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.storage.stage_dir import Shard, StageDir
from infra.telemetry.progress import Meter
from pipeline.evaluate.capability.tasks import CapabilityTask
from pipeline.evaluate.scoring.metric import Measured, Protocol

HARNESS = "lm_eval"
"""Package name of lm-evaluation-harness."""
ITEMS = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        ("acc", pa.float64()),
        ("acc_norm", pa.float64()),
    ]
)
"""One row for each item of a task: 1 where the model is right, 0 where it is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One model and the task that it is asked."""

    served: ServedModel
    task: CapabilityTask


class TaskWorker:
    """Worker that asks one model the items of one task."""

    def __init__(self, compute: Compute) -> None:
        self.examiner = AnswerWorker(compute)

    def __call__(self, trial: TaskRun) -> pa.Table:
        """A table of `ITEMS`, one row for each item of the task."""
        self.examiner.keep(trial.served)
        rows = judged(trial.task, self.examiner.loaded[trial.served])
        return pa.Table.from_pylist(rows, schema=ITEMS)


@dataclass(frozen=True)
class MakeTaskWorker:
    """Builds a `TaskWorker` in the worker's own process."""

    compute: Compute

    def __call__(self) -> TaskWorker:
        return TaskWorker(self.compute)


def require_harness() -> None:
    """Raise ConfigError where lm-evaluation-harness is not installed."""
    if find_spec(HARNESS) is None:
        raise ConfigError(
            "evaluate.capability names tasks, and lm-evaluation-harness, which knows them, is not "
            "installed. Run: pip install 'corrigenda[capability]', or leave capability empty."
        )


def measure_capability(
    runner: Runner,
    out: StageDir,
    examinees: Sequence[ServedModel],
    tasks: Sequence[CapabilityTask],
    *,
    compute: Compute,
    tell: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> dict[str, dict[str, Measured]]:
    """Ask every model every task. Returns the scores by model name and metric name.

    After an interruption, only the unfinished tasks are run. `tell` is called with the number of
    finished tasks, the number of all, and a text. Raises ConfigError where the harness is not
    installed.
    """
    require_harness()
    shards = [
        Shard(f"capability-{served.name}-{task.name}", TaskRun(served=served, task=task))
        for served in examinees
        for task in tasks
    ]
    finished = {shard.id for shard in shards if out.shard_path(shard).exists()}
    meter = Meter(tell, "capability tasks", len(shards), found=len(finished))
    paths = out.map_tables(
        runner,
        MakeTaskWorker(compute),
        shards,
        resources=compute.resources,
        on_done=lambda shard: None if shard.id in finished else meter.add(1),
    )
    found: dict[str, dict[str, list[dict[str, Any]]]] = {e.name: {} for e in examinees}
    for shard, path in zip(shards, paths, strict=True):
        trial: TaskRun = shard.payload
        found[trial.served.name][trial.task.name] = read_table(path).to_pylist()
    return {name: scores(tasks, rows) for name, rows in found.items()}


def scores(
    tasks: Sequence[CapabilityTask], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Measured]:
    """Scores of one model by metric name. `rows` has the rows of `ITEMS` of each task."""
    made: dict[str, Measured] = {}
    everything: dict[str, float] = {}
    for task in tasks:
        right = {row["item"]: row["acc"] for row in rows[task.name]}
        norm = {row["item"]: row["acc_norm"] for row in rows[task.name]}
        made[f"capability/{task.name}"] = _measured(right, "acc", [task])
        made[f"capability_norm/{task.name}"] = _measured(norm, "acc_norm", [task])
        everything |= right
    return {"capability": _measured(everything, "acc", tasks), **made}


def _measured(items: Mapping[str, float], score: str, tasks: Sequence[CapabilityTask]) -> Measured:
    protocol = Protocol(
        decode="tf",
        score=score,
        data="+".join(task.label for task in tasks),
        more=f"{HARNESS}={version(HARNESS)}",
    )
    return Measured(items=items, protocol=protocol, num_questions=len(items))


def judged(task: CapabilityTask, lm: LanguageModel) -> list[dict[str, Any]]:
    """Ask one model all items of a task. Returns one row of `ITEMS` for each."""
    harness = harness_task(task)
    docs = list(harness.eval_docs)
    asked = [
        harness.construct_requests(doc, harness.fewshot_context(doc, 0), metadata=(task.name, i, 1))
        for i, doc in enumerate(docs)
    ]
    questions = [
        Question(
            id=f"{task.name}/{i}",
            prompt=requests[0].args[0],
            # Harness and `Question` both put one space between prompt and answer.
            candidates=tuple(request.args[1].removeprefix(" ") for request in requests),
        )
        for i, requests in enumerate(asked)
    ]
    rows = []
    for doc, answer in zip(docs, lm.ask(questions), strict=True):
        greedy = [n == m for n, m in zip(answer.num_argmax, answer.num_tokens, strict=True)]
        right = harness.process_results(doc, list(zip(answer.logprobs, greedy, strict=True)))
        rows.append({"item": answer.id, "acc": right["acc"], "acc_norm": right["acc_norm"]})
    return rows


def harness_task(task: CapabilityTask) -> Any:
    """The harness's object for a task: multiple choice, without examples before the question."""
    logging.getLogger(HARNESS).setLevel(logging.ERROR)  # hides warnings on the config
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    rows = [item.model_dump() for item in task.items]
    return ConfigurableTask(
        config={
            "task": task.name,
            "custom_dataset": lambda: {"test": Dataset.from_list(rows)},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "query",
            "doc_to_choice": "choices",
            "doc_to_target": "gold",
            "num_fewshot": 0,
            "metric_list": [
                {"metric": name, "aggregation": "mean", "higher_is_better": True}
                for name in ("acc", "acc_norm")
            ],
        }
    )
