"""What a thousand edits and more are worth, all in force at once.

    python -m benchmarks.thousands [--num 1000] [--editor scoped] [--set KEY=VALUE ...]
        [--model NAME] [--in-force 10000] [--editions 10] [--out FILE]

The facts are CounterFact's, each as a plan has it (`benchmarks.common.counterfact.load_planned`).
No prompt that is judged was seen by an editor. Four tables are printed:

- reliability, generality, locality and health, each with its 95 % interval
- what the gate says of them with its default bounds
- with the names of --in-force subjects in force, the rest with values of other facts: which of the
  answers change, and what a pass costs next to the base's (scoped values only)
- --editions successive editions, of which each supersedes a tenth of the facts before it

Outputs are kept in --workspace by content: a second run finds values and answers again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.counterfact import load_names, load_planned
from benchmarks.common.hardware import commit, machine
from editors import EDITORS
from editors.base import Base
from editors.deltas.delta import Delta
from editors.deltas.scoped import ScopedValue, ScopedValues
from editors.external_memory.extension_based.subject_names import token_names
from editors.request import EditRequest
from infra.errors import CorrigendaError
from infra.execution.ray_runner import runner_at
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.cache import empty_cache
from infra.models.embedded import EMBEDDED, cache_directory
from infra.models.library import quiet_transformers
from infra.models.loading import load, locate
from infra.settings import nested
from infra.storage.workspace import Workspace
from jobs.terminal.comparison import cell
from pipeline.comparison.systems import Comparison, System
from pipeline.config import ModelConfig
from pipeline.edit.config import EditConfig
from pipeline.edit.output import DELTA
from pipeline.evaluate.cases import Case, CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.output import ITEMS, REPORT
from pipeline.gate.bounds import GateConfig
from pipeline.gate.checks import check

SHOWN = (
    "reliability",
    "generality",
    "chat_reliability",
    "chat_generality",
    "near_agreement",
    "neutral_agreement",
    "subject_agreement",
    "chat_near_agreement",
    "chat_plain_agreement",
    "chat_subject_agreement",
    "perplexity",
    "kl",
)
"""Metrics that are printed (`pipeline/evaluate/metrics`)."""
TOKENS = 6
"""Tokens of an answer that is compared with another."""
MEASURED = ("preference", "generation", "locality", "chat", "text", "weights")


def main() -> None:
    """Print the tables."""
    args = arguments()
    quiet_transformers()
    header = {
        "machine": machine(),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.thousands", *sys.argv[1:]]),
    }
    print("; ".join(f"{key}: {value}" for key, value in header.items()), end="\n\n", flush=True)
    try:
        with runner_at("local") as runner:
            made = Bench(args, runner)
            rows = {"facts": made.quality(), **made.more()}
    except CorrigendaError as error:
        sys.exit(str(error))
    if args.out:
        with args.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**header, **rows}) + "\n")


class Bench:
    """One editor with its settings on one model."""

    def __init__(self, args: argparse.Namespace, runner: Any) -> None:
        self.args, self.runner = args, runner
        self.base = locate(args.model)
        self.compute = ModelConfig(name=args.model, dtype=args.dtype, device=args.device).compute
        self.cases = load_planned(args.num)
        edit = EditConfig(editor=args.editor, options=nested(args.set), threads=args.threads)
        self.system = System(name=args.editor, edit=edit)

    def comparison(self, cases: CaseSet, suffix: str, **config: Any) -> Comparison:
        """What evaluates the system on some facts."""
        settings = {"num_near": 3, "num_unrelated": len(cases.cases), "num_neutral": 48, **config}
        return Comparison(
            cases=cases,
            base=self.base,
            config=EvaluateConfig(**settings),
            compute=self.compute,
            workspace=Workspace(self.args.workspace),
            runner=self.runner,
            suffix=suffix,
        )

    def quality(self) -> dict[str, Any]:
        """The first two tables."""
        whole = self.comparison(self.cases, "", metrics=MEASURED)
        report = whole.run(self.system).json(REPORT)
        locality = {"metrics": ("locality",), "num_near": 0, "num_neutral": 0}
        first = self.comparison(self.cases, "-first", agreement_tokens=1, **locality)
        one = first.run(self.system).json(REPORT)["roles"]["candidate"]["subject_agreement"]
        roles = report["roles"]
        refused, seconds = len(whole.refused(self.system)), whole.seconds(self.system) or 0.0
        print(f"{self.args.num} facts, {refused} refused, edited in {seconds:.0f} s\n")
        print("| | base | edited |\n|---|---|---|")
        for name in SHOWN:
            own = [cell(roles[role].get(name)) for role in ("base", "candidate")]
            print(f"| {name} | {' | '.join(own)} |")
        print(f"| subject_agreement, first token | | {cell(one)} |\n")
        checks = check(report, refused / self.args.num, GateConfig())
        held = [c for c in checks if c.state != "not measured"]
        print(f"Default bounds of the gate: {sum(not c.blocks for c in held)} of {len(held)} pass.")
        for c in held:
            if c.blocks:
                print(f"- {c.name}: {c.value:.3f} ({c.low}, {c.high}), bound {c.bound}: {c.state}")
        print(flush=True)
        return {"roles": roles, "first token": one, "seconds": seconds, "refused": refused}

    def more(self) -> dict[str, Any]:
        """The other tables, where they are asked for."""
        rows: dict[str, Any] = {}
        if self.args.in_force:
            rows["in force"] = self.in_force(self.args.in_force)
        if self.args.editions:
            rows["editions"] = self.editions(self.args.editions)
        return rows

    def in_force(self, num: int) -> dict[str, Any]:
        """Which answers change, and what passes cost, with more values in force."""
        whole = self.comparison(self.cases, "")
        edited = whole.edited(self.system)
        assert edited is not None
        delta = Delta.load(edited.path / DELTA)
        model, tokenizer = load(
            self.base.path,
            dtype=getattr(torch, self.compute.dtype),
            device=self.compute.device,
        )
        more = with_names(delta, Base(model, tokenizer, self.base.digest), num)
        prompts = [
            text
            for case in self.cases.cases
            for text in (
                case.prompt,
                *case.paraphrases,
                *(query.prompt for query in (*case.near, *case.same_subject)),
            )
        ]
        asked = [
            Question(
                id=str(i),
                prompt=text,
                greedy=True,
                until=(),
                past_ends=True,
                min_new_tokens=TOKENS,
                max_new_tokens=TOKENS,
            )
            for i, text in enumerate(prompts)
        ]
        said, times = [], []
        for change in (Delta(), delta, more):
            with change.applied(model):
                if change.parts:
                    answers = LanguageModel(model, tokenizer).ask(asked)
                    said.append([answer.greedy for answer in answers])
        for rows in (1, 32):
            times += [ratios(model, tokenizer, more, prompts[:rows])]
        added = names_beside(more, delta)
        told = [
            (naming(f"{text} {one}", added), one != two)
            for text, one, two in zip(prompts, *said, strict=True)
        ]
        counts = {
            "prompts": len(told),
            "naming": sum(named for named, _ in told),
            "changed": sum(changed for _, changed in told),
            "changed, naming": sum(named and changed for named, changed in told),
        }
        print(
            f"With {num} subjects in force, of {counts['naming']} prompts that name one of those "
            f"added, or are answered with its name, {counts['changed, naming']} are answered in "
            f"other words; of the other {len(told) - counts['naming']}, "
            f"{counts['changed'] - counts['changed, naming']}.\n"
        )
        print("| next-token latency over the base's | prefill | decode |\n|---|---|---|")
        for rows, (prefill, decode) in zip((1, 32), times, strict=True):
            print(f"| batch {rows} | {prefill:.3f} | {decode:.3f} |")
        print(flush=True)
        return {**counts, "latency": times}

    def editions(self, num: int) -> dict[str, Any]:
        """Facts that are lost, and superseded answers that are back, after successive editions."""
        size = self.args.num // num
        targets: dict[str, list[str]] = {}
        for case in self.cases.cases:
            targets.setdefault(case.relation, []).append(case.target)
        live: list[Case] = []
        right: dict[str, dict[str, float]] = {}
        report: Mapping[str, Any] = {}
        for edition in range(num):
            changing = live[::10] if edition else []
            moved = {case.id: superseded(case, targets[case.relation]) for case in changing}
            live = [moved.get(case.id, case) for case in live]
            live += self.cases.cases[edition * size : (edition + 1) * size]
            cases = CaseSet(f"edition-{edition}", tuple(live))
            comparison = self.comparison(cases, "", metrics=("generation",), num_paraphrases=1)
            made = comparison.run(self.system)
            report = made.json(REPORT)["roles"]["candidate"]
            for row in made.table(ITEMS).to_pylist():
                if (row["role"], row["metric"]) == ("candidate", "reliability"):
                    right.setdefault(row["item"], {})[str(edition)] = row["value"]
            print(f"edition {edition + 1}: {len(live)} facts, {cell(report.get('reliability'))}")
        last = str(num - 1)
        held = {case.id for case in live if not case.id.endswith("+")}
        first = {i: next(iter(by.values())) for i, by in right.items() if i in held}
        lost = [i for i, value in first.items() if value == 1 and right[i].get(last) != 1]
        known = sum(value == 1 for value in first.values())
        print(f"\n{len(lost)} of {known} facts lost, superseded {cell(report.get('superseded'))}\n")
        return {"lost": len(lost), "known": known, "superseded": report.get("superseded")}


def superseded(case: Case, targets: Sequence[str]) -> Case:
    """The fact with another target of its relation; its old one must not be given any more."""
    others = [t for t in dict.fromkeys(targets) if t not in (case.target, *case.old)]
    if not others:
        return case
    target = others[sum(map(ord, case.id)) % len(others)]
    old = (case.target, *case.old)
    return replace(case, id=f"{case.id}+", target=target, accepted=(target,), old=old, rivals=())


def with_names(delta: Delta, base: Base, num: int) -> Delta:
    """The delta with scoped values of further subjects, `num` in all: their names, and values and
    relations of edited facts."""
    [part] = delta.parts
    assert isinstance(part, ScopedValues)
    known = {name for value in part.values for name in value.names}
    values = list(part.values)
    for i, name in enumerate(load_names()):
        if len(values) >= num:
            break
        own = part.values[i % len(part.values)]
        request = EditRequest(
            id=f"name-{i}",
            prompt=f"{name.subject} is",
            subject_span=(0, len(name.subject)),
            target=name.target,
        )
        tokens = token_names(base.tokenizer, [name.subject], [request])
        tokens = tuple(ids for ids in tokens if ids not in known)
        known |= {*tokens}
        if tokens:
            values.append(ScopedValue(tokens, own.value_D.roll(i), (request,), own.texts))
    return Delta((replace(part, values=tuple(values)),))


def names_beside(more: Delta, delta: Delta) -> frozenset[str]:
    """The names of the subjects that a delta has beside another's."""
    every, held = (
        {request.subject for part in one.of(ScopedValues).values() for request in part.requests}
        for one in (more, delta)
    )
    return frozenset(every - held)


def naming(text: str, names: Container[str]) -> bool:
    """Whether one of the names stands in a text, as whole words."""
    edges = [match.span() for match in re.finditer(r"\w+", text)]
    return any(text[first:last] in names for first, _ in edges for _, last in edges if first < last)


def ratios(model: Any, tokenizer: Any, delta: Delta, prompts: Sequence[str]) -> tuple[float, float]:
    """Seconds of a prefill and of a decode step with the delta in force over those without: the
    medians of turns taken one after the other."""
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    times: dict[tuple[bool, str], list[float]] = {}
    for _ in range(15):
        for on in (False, True):
            with (delta if on else Delta()).applied(model), torch.inference_mode():
                for phase, seconds in timed(model, encoded):
                    times.setdefault((on, phase), []).append(seconds)
    middle = {key: sorted(values)[len(values) // 2] for key, values in times.items()}
    return (
        middle[True, "prefill"] / middle[False, "prefill"],
        middle[True, "decode"] / middle[False, "decode"],
    )


def timed(model: Any, encoded: Mapping[str, torch.Tensor]) -> list[tuple[str, float]]:
    """Seconds of the prefill, and of each of eight steps behind it."""
    cache, mask = empty_cache(model), encoded["attention_mask"]
    ids, found = encoded["input_ids"], []
    for step in range(9):
        start = time.perf_counter()
        output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, logits_to_keep=1)
        ids = output.logits[:, -1:].argmax(-1)
        found.append(("decode" if step else "prefill", time.perf_counter() - start))
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return found


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num", type=int, default=1000, help="facts")
    parser.add_argument("--editor", choices=list(EDITORS), default="scoped")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--in-force", type=int, default=0, help="subjects in force")
    parser.add_argument("--editions", type=int, default=0, help="successive editions")
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workspace", type=Path, default=cache_directory() / "benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
