"""lm-pub-quiz (https://pypi.org/project/lm-pub-quiz) on given items, in its own process.

    python benchmarks/peers/lm_pub_quiz.py JOB.json

`probe_speed.py` writes the job and starts this with the Python of an environment that has
lm-pub-quiz. The measured function is `Evaluator.score_answers`, called for every item and template
as `evaluate_relation` calls it. Loading is not measured.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

Evaluator: Any = importlib.import_module("lm_pub_quiz").Evaluator


def main() -> None:
    """Run the job whose JSON file the command line names, and write the result to its `out`."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
    evaluator = Evaluator.from_model(
        model.eval(),
        model_type="CLM",
        tokenizer=AutoTokenizer.from_pretrained(job["model"]),
        device="cpu",
    )
    scores = []
    started, cpu_started = time.perf_counter(), time.process_time()
    for item in job["items"]:
        scores.append(
            evaluator.score_answers(
                template=item["template"],
                answers=item["answers"],
                subject=item["subject"],
                reduction="sum",
                batch_size=job["batch_size"],
            )
        )
    result = {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu_started,
        "scores": scores,
    }
    Path(job["out"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
