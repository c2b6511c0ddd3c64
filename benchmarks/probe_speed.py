"""How fast beliefs are scored: ours against lm-pub-quiz, the same BEAR items, model and answers.

    python -m benchmarks.probe_speed --bear bear.jsonl.gz --relations bear_relations.json \
        --peer PEER/bin/python --subjects 2

The two files are BEAR's (https://github.com/lm-pub-quiz/BEAR, not kept here: it names no licence):
items as JSON lines, and 60 relations, each with three templates and an answer space shared by its
subjects. PEER is an environment with lm-pub-quiz 0.3.3. Of each relation the first subjects are
asked, each in all templates with all answers, scored by the full statement behind the model's first
token. Both sides run with one thread and one dtype, in turn, as often as --rounds says, and the
fastest counts. CPU seconds are given too: what else runs on the machine is not in them.

A statement is divided where the first of subject and answer ends: what comes before runs once for
all statements that share it, be it the subject's (`Ann was born in [Y].`) or the answer's (`[Y] is
the author of Ann.`). Compared are scores, the first of each ranking, and whole rankings; and the
pace with that of the model alone on the same tokens, the most that scoring can reach.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common.hardware import commit, machine
from infra.lm.batching import by_prefix, encode
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.embedded import EMBEDDED
from infra.models.loading import dtype_name, load, locate


@dataclass(frozen=True, kw_only=True)
class Item:
    """One subject in one template, with all answers of its relation."""

    relation: str
    """Id of the relation."""
    template: str
    """A sentence with [X] for the subject and [Y] for the answer."""
    subject: str
    """Label of the subject."""
    answers: Sequence[str]
    """Labels of the answers."""

    def statement(self, answer: str) -> str:
        """The statement with an answer, its first letter a capital as lm-pub-quiz writes it."""
        text = self.filled(self.template, answer)
        return text[0].upper() + text[1:]

    def divided(self, answer: str) -> tuple[str, str]:
        """The statement in two parts, divided at the last space before the later of subject and
        answer."""
        later = max(self.template.index("[X]"), self.template.index("[Y]"))
        head, tail = self.template[:later], self.template[later:]
        cut = head.rindex(" ")
        first = self.filled(head[:cut], answer)
        return first[0].upper() + first[1:], self.filled(head[cut + 1 :] + tail, answer)

    def filled(self, text: str, answer: str) -> str:
        """A piece of the template with subject and answer filled in."""
        return text.replace("[Y]", answer).replace("[X]", self.subject)


def main() -> None:
    """Measure both sides in turn, and print tables."""
    options = arguments()
    torch.set_num_threads(options.threads)
    place = f"{machine()}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"
    print(f"{place}, commit {commit()}, `{shlex.join(['python', *sys.argv])}`\n", flush=True)
    items = read_items(options)
    path, dtype = locate(options.model).path, dtype_name(options.dtype, "cpu")
    model, tokenizer = load(path, dtype=getattr(torch, dtype))
    lm = LanguageModel(model, tokenizer, plain_attention=True)
    statements = sum(len(item.answers) for item in items)
    relations = len({item.relation for item in items})
    print(f"{len(items)} items of {relations} relations, {statements} statements, {dtype}\n")
    lm.ask(questions(items[:8], tokenizer.bos_token))  # what is made once is made here
    ours_s, peer_s, ours_cpu_s, peer_cpu_s = [], [], [], []
    ours: list[list[float]] = []
    peer: list[list[float]] = []
    for _ in range(options.rounds):
        started, cpu_started = time.perf_counter(), time.process_time()
        ours = score(lm, items)
        ours_s.append(time.perf_counter() - started)
        ours_cpu_s.append(time.process_time() - cpu_started)
        if options.peer:
            result = run_peer(options, items, path, dtype)
            peer_s.append(result["seconds"])
            peer_cpu_s.append(result["cpu_s"])
            peer = result["scores"]
    report(items, ours, peer, min(ours_s), min(peer_s, default=float("nan")))
    if peer:
        print(f"in CPU seconds: {min(peer_cpu_s) / min(ours_cpu_s):.2f} x")
    limit(lm, items, min(ours_s))


def read_items(options: argparse.Namespace) -> list[Item]:
    """The items: the first subjects of every relation, in all its templates."""
    relations = json.loads(Path(options.relations).read_text(encoding="utf-8"))
    subjects: dict[str, list[str]] = {}
    with gzip.open(options.bear, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            subjects.setdefault(row["relation"], []).append(row["sub_label"])
    return [
        Item(
            relation=key,
            template=template,
            subject=subject,
            answers=relations[key]["answer_space_labels"],
        )
        for key in list(relations)[: options.num_relations]
        for template in relations[key]["templates"]
        for subject in subjects[key][: options.subjects]
    ]


def questions(items: Iterable[Item], bos: str) -> list[Question]:
    """One question for each first part of statements, with all second parts as candidates.

    bos  text of the model's first token, which precedes each statement
    """
    endings: dict[str, dict[str, None]] = {}
    for item in items:
        for answer in item.answers:
            first, rest = item.divided(answer)
            endings.setdefault(first, {})[rest] = None
    return [
        Question(id=first, prompt=bos + first, candidates=tuple(rests), whole=True)
        for first, rests in endings.items()
    ]


def score(lm: LanguageModel, items: Sequence[Item]) -> list[list[float]]:
    """Log-likelihood of each full statement in nats: for each item, in the order of its answers."""
    asked = questions(items, lm.tokenizer.bos_token)
    answers = lm.ask(asked)
    scores = {
        (question.id, ending): logprob
        for question, answer in zip(asked, answers, strict=True)
        for ending, logprob in zip(question.candidates, answer.logprobs, strict=True)
    }
    return [[scores[item.divided(answer)] for answer in item.answers] for item in items]


def run_peer(
    options: argparse.Namespace, items: Sequence[Item], path: Path, dtype: str
) -> dict[str, Any]:
    """The result of lm-pub-quiz on the items: `seconds`, `cpu_s` and `scores`, which are ordered as
    those of `score`. Raises CalledProcessError where it fails.

    path   directory of the model
    dtype  name of the torch dtype of the weights
    """
    with tempfile.TemporaryDirectory() as folder:
        job, out = Path(folder) / "job.json", Path(folder) / "result.json"
        settings = {
            "model": str(path),
            "dtype": dtype,
            "threads": options.threads,
            "batch_size": options.batch_size,
            "items": [asdict(item) for item in items],
            "out": str(out),
        }
        job.write_text(json.dumps(settings), encoding="utf-8")
        script = Path(__file__).with_name("peers") / "lm_pub_quiz.py"
        subprocess.run([options.peer, str(script), str(job)], check=True)
        return json.loads(out.read_text(encoding="utf-8"))


def report(
    items: Sequence[Item],
    ours: Sequence[Sequence[float]],
    peer: Sequence[Sequence[float]],
    ours_s: float,
    peer_s: float,
) -> None:
    """Print the pace of both sides, and how much their scores agree.

    ours, peer      scores of the statements, by item
    ours_s, peer_s  seconds
    """
    print("| | items/s | statements/s |\n|---|---|---|")
    total = sum(len(item.answers) for item in items)
    for name, seconds in (("ours", ours_s), ("lm-pub-quiz", peer_s)):
        print(f"| {name} | {len(items) / seconds:.2f} | {total / seconds:.1f} |")
    if not peer:
        return
    pairs = [(np.array(a), np.array(b)) for a, b in zip(ours, peer, strict=True)]
    first = np.mean([a.argmax() == b.argmax() for a, b in pairs])
    whole = np.mean([(np.argsort(-a) == np.argsort(-b)).all() for a, b in pairs])
    apart = max(np.abs(a - b).max() for a, b in pairs)
    swapped = max((_widest_swap(a, b) for a, b in pairs), default=0.0)
    print(f"\nours / lm-pub-quiz: {peer_s / ours_s:.2f} x")
    print(f"same first answer {first:.4f}, same whole ranking {whole:.4f} of items")
    print(f"greatest difference of a score {apart:.2e} nats; of two answers whose order differs,")
    print(f"  by lm-pub-quiz's scores {swapped:.2e} nats apart at most")


def _widest_swap(ours: np.ndarray, peer: np.ndarray) -> float:
    """The greatest difference, in the peer's scores (nats), of two neighbours in our ranking that
    the peer ranks the other way round."""
    steps = np.diff(peer[np.argsort(-ours, kind="stable")])
    return float(max(0.0, steps.max(initial=0.0)))


def limit(lm: LanguageModel, items: Sequence[Item], seconds: float) -> None:
    """Print the number of tokens that had to run, and the time of the bare model on as many.

    The bare model runs rows of the mean length of the prompts, then rows of that of the endings.

    seconds  time of our scoring
    """
    asked = questions(items, lm.tokenizer.bos_token)
    prompts = by_prefix(encode(lm.tokenizer, i, q) for i, q in enumerate(asked))
    before = [len(prompt.tokens) for prompt in prompts]
    behind = [len(row) - 1 for p in prompts for part in p.questions for row in part.rows]
    behind = [length for length in behind if length]
    pace = {}
    for name, lengths in (("prompts", before), ("endings", behind)):
        width = max(1, round(float(np.mean(lengths))))
        rows = max(1, 1024 // width)
        ids = torch.randint(100, 5000, (rows, width))
        with torch.inference_mode():
            times = []
            for _ in range(4):
                started = time.perf_counter()
                lm.model(input_ids=ids, use_cache=False)
                times.append(time.perf_counter() - started)
        pace[name] = rows * width / min(times)
    ideal = sum(before) / pace["prompts"] + sum(behind) / pace["endings"]
    print(
        f"\n{sum(before)} tokens of prompts and {sum(behind)} of endings ran; a plain forward makes"
        f" {pace['prompts']:.0f} and {pace['endings']:.0f} tokens/s of them: {ideal:.1f} s, "
        f"{ideal / seconds:.0%} of our time ({seconds:.1f} s)"
    )


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bear", required=True, help="BEAR's items, .jsonl.gz")
    parser.add_argument("--relations", required=True, help="BEAR's relations, .json")
    parser.add_argument(
        "--peer", help="python of an environment with lm-pub-quiz; unset: ours only"
    )
    parser.add_argument("--subjects", type=int, default=3, help="of each relation")
    parser.add_argument("--num-relations", type=int, default=60)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32, help="of lm-pub-quiz")
    parser.add_argument("--rounds", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
