"""EasyEdit's own evaluation (https://github.com/zjunlp/EasyEdit) of given facts, in a process.

    python benchmarks/peer_evaluation.py JOB.json

`eval_speed.py` writes the job and starts this. The checkout is used unmodified and none of it is
kept here. Its `compute_edit_quality` is called as its editor calls it, a fact at a time, on a model
loaded in float32 as its editor loads it. Packages that its modules import and that are not
installed are stood in for by empty ones; of these its evaluation calls sklearn's `f1_score` alone,
which is written out below.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

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
"""What of an editor's settings its evaluation reads, with the values of its own settings files. It
generates as many tokens as the target has for the editor GRACE alone; with an evaluation type and
no key for a judge it generates to a full stop or newline, and compares strings."""


STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "scipy": {},
    "nltk": {},
    "openai": {"OpenAI": None},
    "sklearn": {},
}
"""What its modules import, and what they want to find there."""


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """What the process is told."""

    easyedit: str
    """Checkout of EasyEdit."""
    model: str
    """Directory of a model."""
    records: Sequence[Mapping[str, Any]]
    """As its editor makes them: prompt, target_new, ground_truth, rephrase_prompt, locality."""
    protocol: str
    """Of `PROTOCOLS`."""
    out: str
    """File for the result."""
    threads: int


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What the process reports."""

    seconds: float
    """Of the evaluation, without imports and loading."""
    cpu_s: float
    num_records: int
    num_prompts: int
    scores: Mapping[str, float]
    """Mean of what it calls rewrite_acc and rephrase_acc."""


def run_evaluation(job: EvaluationJob) -> EvaluationResult:
    """Run a job in a new process. Raises CalledProcessError when that fails."""
    path = Path(job.out).with_suffix(".job.json")
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")
    subprocess.run([sys.executable, __file__, str(path)], check=True, stdout=subprocess.DEVNULL)
    return EvaluationResult(**json.loads(Path(job.out).read_text(encoding="utf-8")))


def main() -> None:
    """The process: one job."""
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
    """Its module `evaluate.evaluate`, with stand-ins for what is not needed."""
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
    """A module of that content; as a package, its folder of the checkout."""
    module = types.ModuleType(name)
    module.__dict__.update(content)
    if path:
        module.__path__ = [str(path.joinpath(*name.split(".")))]
    sys.modules[name] = module


def load_model(path: str) -> tuple[Any, Any]:
    """Model and tokenizer, as its editor prepares them for a Llama."""
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
    """Mean over all labels seen of 2 tp / (2 tp + fp + fn); stands in for sklearn's."""
    assert average == "macro"
    labels = {*truth, *said}
    pairs = list(zip(truth, said, strict=True))
    hits = {label: sum(a == b == label for a, b in pairs) for label in labels}
    sizes = {label: truth.count(label) + said.count(label) for label in labels}
    return sum(2 * hits[label] / sizes[label] for label in labels) / len(labels)


if __name__ == "__main__":
    main()
