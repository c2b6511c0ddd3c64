"""How fast an edited model is judged: ours against EasyEdit's, the same facts, model and machine.

    python -m benchmarks.eval_speed --num 1000 --easyedit PATH

PATH is a checkout of https://github.com/zjunlp/EasyEdit at 14cea82. CounterFact's facts, each with
its prompt, one paraphrase and all its neighbours for the rows to be compared. Ours runs as the
evaluate stage does: workers of one thread each, a base and a candidate (the base with noise in one
matrix: what is said does not matter here), report and intervals included. EasyEdit takes one record
at a time, so its pace is taken on the first facts only. Prints a Markdown table for
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.common.counterfact import load_facts
from benchmarks.common.hardware import commit, machine
from benchmarks.peers.easyedit_evaluation import EvaluationJob, EvaluationResult, run_evaluation
from infra.execution.ray_runner import runner_at
from infra.execution.runner import Runner
from infra.lm.inference import Compute, Questionnaire, ServedModel, ask_models
from infra.lm.question import Question
from infra.models.checkpoint import Checkpoint
from infra.models.embedded import EMBEDDED
from infra.models.loading import ModelRef, dtype_name, locate
from infra.storage.stage_dir import StageDir
from pipeline.config import ModelConfig
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.questions import questions_for
from pipeline.evaluate.stage import EvaluateInputs, evaluate
from pipeline.export.edited import ForeignCheckpoint

NOISED = "model.layers.9.mlp.down_proj.weight"
"""The weight matrix that gets noise in the candidate."""
SCORED = ("teacher_forced", "preference")
"""Families of metrics that need likelihoods only."""
ALL = ("preference", "teacher_forced", "generation", "locality", "text")
"""All families of metrics that are measured."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The measurement of one system on some facts."""

    name: str
    """The system and its settings."""
    facts: int
    """Number of facts."""
    questions: int
    """Number of prompts that each model is asked, for all facts."""
    models: int
    """Number of models that are asked."""
    seconds: float
    """Duration of the evaluation."""

    @property
    def pace(self) -> float:
        """Seconds for one fact and one model."""
        return self.seconds / self.facts / self.models


def main() -> None:
    """Measure ours and, where a checkout is given, EasyEdit's, and print a table."""
    options = arguments()
    place = f"{machine()}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"
    print(f"{place}, commit {commit()}, `{shlex.join(['python', *sys.argv])}`\n", flush=True)
    path, dtype = locate(options.model).path, dtype_name(options.dtype, "cpu")
    matched = load_facts(options.matched_num)
    alike = EvaluateConfig(num_paraphrases=1, num_near=10)
    scored = alike.model_copy(update={"metrics": SCORED})
    said = alike.model_copy(update={"metrics": ALL[:-1], "num_neutral": 0})
    full = EvaluateConfig(metrics=ALL)
    whole = load_facts(options.num)
    with tempfile.TemporaryDirectory() as folder:
        edited = noised(path, Path(folder) / "candidate")
        ours = [
            run(name, cases, config, (path, edited), dtype, Path(folder))
            for name, cases, config in (
                ("likelihoods", matched, scored),
                ("likelihoods and answers", matched, said),
                ("defaults and texts", whole, full),
            )
        ]
        theirs = [
            peer(options, matched, protocol, number, path, Path(folder))
            for protocol, number in (
                ("teacher forcing", options.peer_num),
                ("vanilla generation", options.peer_num),
                ("natural stop", options.natural_num),
            )
            if options.easyedit
        ]
    report(ours, theirs)


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--num", type=int, default=1000, help="facts of our whole evaluation")
    add("--matched-num", type=int, default=200, help="facts of ours with the peer's questions")
    add("--easyedit", help="checkout of EasyEdit; without it, ours alone")
    add("--peer-num", type=int, default=50, help="facts for the peer: the first of all")
    add("--natural-num", type=int, default=1, help="facts for its generation to a natural stop")
    add("--model", default=EMBEDDED)
    add("--dtype", default="auto", help="ours")
    options = parser.parse_args()
    if options.easyedit and not Path(options.easyedit, "easyeditor").is_dir():
        parser.error(f"--easyedit {options.easyedit} is no checkout of EasyEdit.")
    return options


def run(
    name: str,
    cases: CaseSet,
    config: EvaluateConfig,
    models: tuple[Path, Path],
    dtype: str,
    folder: Path,
) -> Row:
    """Measure the evaluate stage on a base and a candidate, after the workers have loaded them.

    models  directories of the base and of the candidate
    dtype   name of the torch dtype of the weights
    folder  directory for the outputs
    """
    compute = ModelConfig(name="", dtype=dtype).compute
    base = ServedModel(name="base", path=models[0])
    with runner_at("local") as runner:
        load_workers(runner, base, compute, stage(folder, f"{name}-warm"))
        started = time.perf_counter()
        inputs = EvaluateInputs(
            cases=cases,
            base=ModelRef("base", models[0], "base"),
            parent=None,
            edited=ForeignCheckpoint(models[1], digest="noised", edited=(NOISED,)),
            config=config,
            compute=compute,
        )
        evaluate(inputs, stage(folder, name), runner)
        seconds = time.perf_counter() - started
    print(f"{name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return Row(
        name=f"Corrigenda, {name}, {dtype}",
        facts=len(cases.cases),
        questions=len(questions_for(cases, config)),
        models=2,
        seconds=seconds,
    )


def load_workers(runner: Runner, base: ServedModel, compute: Compute, out: StageDir) -> None:
    """Make every worker load the base, by asking questions."""
    cores = os.cpu_count() or 1
    some = [Question(id=str(i), prompt="Rome is in", greedy=True) for i in range(64 * cores)]
    ask_models(runner, out, [Questionnaire(served=base, questions=some)], compute=compute)


def stage(folder: Path, name: str) -> StageDir:
    """A new directory for the output of a stage, named after a measurement."""
    path = folder / name.replace(" ", "-")
    path.mkdir(parents=True)
    return StageDir(path)


def noised(path: Path, target: Path) -> Path:
    """Save the model with Gaussian noise in one matrix, of a hundredth of its standard deviation;
    the directory `target`."""
    base = Checkpoint(path)
    weight = base.tensor(NOISED)
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    changed = weight.float() + 0.01 * weight.float().std() * noise
    base.export(target, {NOISED: changed.to(weight.dtype)})
    return target


def peer(
    options: argparse.Namespace,
    cases: CaseSet,
    protocol: str,
    number: int,
    model: Path,
    folder: Path,
) -> Row:
    """Measure EasyEdit's evaluation of the first `number` facts.

    protocol  a key of `benchmarks.peers.easyedit_evaluation.PROTOCOLS`
    model     directory of the model
    folder    directory for the result
    """
    records = [
        {
            "prompt": case.prompt,
            "target_new": case.target,
            "ground_truth": case.old[0],
            "rephrase_prompt": case.paraphrases[0],
            "locality": {
                "neighborhood": {
                    "prompt": [query.prompt for query in case.near],
                    "ground_truth": [query.accepted[0] for query in case.near],
                }
            },
            "portability": {},
        }
        for case in cases.cases[:number]
    ]
    result: EvaluationResult = run_evaluation(
        EvaluationJob(
            easyedit=str(Path(options.easyedit).absolute()),
            model=str(model),
            records=records,
            protocol=protocol,
            out=str(folder / f"{protocol.replace(' ', '-')}.json"),
            threads=os.cpu_count() or 1,
        )
    )
    scores = json.dumps(result.scores)
    print(f"{protocol}: {result.seconds:.1f} s, {scores}", file=sys.stderr, flush=True)
    return Row(
        name=f"EasyEdit, {protocol}, float32",
        facts=result.num_records,
        questions=result.num_prompts,
        models=1,
        seconds=result.seconds,
    )


def report(ours: Sequence[Row], theirs: Sequence[Row]) -> None:
    """Print a table with one line for each measurement, and how many times as long it takes as each
    of our two with the peer's questions."""
    likelihoods, answers, _ = ours
    print(
        "| system | facts | models | questions | seconds | questions/s | ms a fact and model |",
        end="",
    )
    print(" times likelihoods | times likelihoods and answers |")
    print(f"|{'---|' * 9}")
    for row in (*ours, *theirs):
        asked = row.questions * row.models
        cells = [
            row.name,
            str(row.facts),
            str(row.models),
            str(asked),
            f"{row.seconds:.1f}",
            f"{asked / row.seconds:.1f}",
            f"{1000 * row.pace:.1f}",
            f"{row.pace / likelihoods.pace:.1f}",
            f"{row.pace / answers.pace:.1f}",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
