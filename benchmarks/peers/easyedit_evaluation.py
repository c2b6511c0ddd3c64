"""EasyEdit's own evaluation (https://github.com/zjunlp/EasyEdit) on given facts, in a process.

    python -m benchmarks.peers.easyedit_evaluation JOB.json

`eval_speed.py` writes the job and starts this. The checkout is used unmodified, and none of its
code is kept here. Its `compute_edit_quality` is called for one fact at a time, as EasyEdit's editor
calls it, on a model in float32, as that editor loads it. Packages that its modules import and that
are not installed are replaced by empty modules. The only function of them that the evaluation calls
is sklearn's `f1_score`, which `macro_f1` replaces.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.process import run_module
from benchmarks.peers.easyedit_memit import bare_packages

PROTOCOLS: Mapping[str, Mapping[str, Any]] = {
    "teacher forcing": {"alg_name": "MEMIT", "max_length": 40},
    "vanilla generation": {"alg_name": "GRACE", "max_length": 30},
    "natural stop": {
        "alg_name": "MEMIT",
        "max_length": 40,
        "evaluation_type": "LLM-judge",
        "api_key": None,
    },
}
"""Name of a protocol -> the editor's settings that EasyEdit's evaluation reads, with the values of
its own settings files. Only for the editor GRACE does it generate as many tokens as the target has.
With an evaluation type and no key for a judge, it generates up to a full stop or newline and
compares strings."""


STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "scipy": {},
    "nltk": {},
    "openai": {"OpenAI": None},
    "sklearn": {},
}
"""Package that EasyEdit's modules import -> the names that they need in it."""


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """The settings of an evaluation by EasyEdit."""

    easyedit: str
    """Directory of the checkout of EasyEdit."""
    model: str
    """Directory of the model."""
    records: Sequence[Mapping[str, Any]]
    """The facts, in the form that EasyEdit's editor gives them: prompt, target_new, ground_truth,
    rephrase_prompt, locality."""
    protocol: str
    """A key of `PROTOCOLS`."""
    out: str
    """File for the result."""
    threads: int
    """Number of torch's threads."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The result of an evaluation by EasyEdit."""

    seconds: float
    """Duration of the evaluation, without imports and loading."""
    cpu_s: float
    """CPU seconds of the evaluation."""
    num_records: int
    """Number of facts."""
    num_prompts: int
    """Number of prompts of all facts."""
    scores: Mapping[str, float]
    """EasyEdit's metrics rewrite_acc and rephrase_acc, mean over the facts."""


def run_evaluation(job: EvaluationJob) -> EvaluationResult:
    """Run a job in a new process. Raises CalledProcessError where the process fails."""
    path = Path(job.out).with_suffix(".job.json")
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")
    run_module("benchmarks.peers.easyedit_evaluation", path)
    return EvaluationResult(**json.loads(Path(job.out).read_text(encoding="utf-8")))


def main() -> None:
    """Run the job whose file the command line names, and write its result."""
    job = EvaluationJob(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    torch.set_num_threads(job.threads)
    model, tokenizer = load_model(job.model)
    evaluate = import_evaluation(Path(job.easyedit))

    def ask(record: Mapping[str, Any], protocol: str) -> Mapping[str, Any]:
        hparams = types.SimpleNamespace(**PROTOCOLS[protocol])
        return evaluate.compute_edit_quality(model, "llama", hparams, tokenizer, record, "cpu")

    ask(job.records[0], "teacher forcing")  # warm
    started, cpu_started = time.perf_counter(), time.process_time()
    results = [ask(record, job.protocol) for record in job.records]
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    scores = {
        key: sum(float(result[key][0]) for result in results) / len(results)
        for key in ("rewrite_acc", "rephrase_acc")
    }
    result = EvaluationResult(
        seconds=seconds,
        cpu_s=cpu_s,
        num_records=len(results),
        num_prompts=sum(2 + len(r["locality"]["neighborhood"]["prompt"]) for r in job.records),
        scores=scores,
    )
    Path(job.out).write_text(json.dumps(asdict(result)), encoding="utf-8")


def import_evaluation(checkout: Path) -> Any:
    """Import EasyEdit's module `evaluate.evaluate`, with empty modules in place of those that it
    imports and does not need."""
    bare_packages(checkout, "evaluate", "util", "models", "models.melo")
    _stand_in("easyeditor.models.melo.melo", LORA=type("LORA", (), {}))
    _stand_in("easyeditor.trainer")
    _stand_in("easyeditor.util", HyperParams=type("HyperParams", (), {}), path=checkout)
    absent = {name for name in STAND_INS if importlib.util.find_spec(name) is None}
    for name in absent:
        _stand_in(name, **STAND_INS[name])
    if "sklearn" in absent:
        _stand_in("sklearn.metrics", f1_score=macro_f1)
    return importlib.import_module("easyeditor.evaluate.evaluate")


def _stand_in(name: str, *, path: Path | None = None, **content: Any) -> None:
    """Register a module with the given content.

    path  directory of the checkout, where the module is one of its packages
    """
    module = types.ModuleType(name)
    module.__dict__.update(content)
    if path:
        module.__path__ = [str(path.joinpath(*name.split(".")))]
    sys.modules[name] = module


def load_model(path: str) -> tuple[Any, Any]:
    """Model and tokenizer, as EasyEdit's editor prepares them for a Llama."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    tokenizer.pad_token_id = tokenizer.eos_token_id
    tokenizer.padding_side = "right"
    return model.eval(), tokenizer


def macro_f1(truth: Sequence[int], said: Sequence[int], average: str) -> float:
    """Mean of 2 tp / (2 tp + fp + fn) over all labels that occur; replaces sklearn's `f1_score`.

    truth, said  the true and the predicted label of each item
    average      always `macro`
    """
    assert average == "macro"
    labels = {*truth, *said}
    pairs = list(zip(truth, said, strict=True))
    hits = {label: sum(a == b == label for a, b in pairs) for label in labels}
    sizes = {label: truth.count(label) + said.count(label) for label in labels}
    return sum(2 * hits[label] / sizes[label] for label in labels) / len(labels)


if __name__ == "__main__":
    main()
