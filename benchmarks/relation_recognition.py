"""Whether the relation of a prompt is told by its words: where an edit would be in force.

    python -m benchmarks.relation_recognition [--editor scoped] [--num 500] [--model NAME]
        [--limits 0.1,0.4 ...]

Over CounterFact facts as a plan has them, one a subject, the share of prompts about the subject in
which the fact's scoped value, or its erratum, would be in force: for prompts about its relation
that no editor has seen, all is wanted; for those about other relations and about the subject in
general, nothing. A pair of --limits is `nearness` and `margin` of the editor.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.common.counterfact import load_planned
from benchmarks.common.hardware import commit, machine
from discovery.relations.relation import load_relations
from editors.base import Base
from editors.external_memory.extension_based.errata import ErrataConfig
from editors.external_memory.extension_based.relation_stems import relation_stems
from editors.external_memory.extension_based.relation_words import relation_scope
from editors.external_memory.extension_based.scoped import ScopedConfig
from editors.external_memory.extension_based.subject_names import names_of
from infra.models.embedded import EMBEDDED
from infra.models.library import quiet_transformers
from infra.models.loading import load, locate
from infra.models.tokenizer.insertion import with_insertions
from pipeline.evaluate.cases import Case
from pipeline.plan.wordings import relation_texts

GENERAL = ("What can you tell me about {}?", "Who is {}?", "Tell me about {}.", "{} is")
"""Prompts about a subject and none of its relations."""
Holds = Callable[[int, str], bool]
"""Number of a fact, text -> whether its edit would be in force there."""
NUM_OTHER = 3
"""Other relations that are asked about each subject."""


def main() -> None:
    """Print a table with a row of shares for each pair of limits."""
    args = arguments()
    quiet_transformers()
    command = shlex.join(["python", "-m", "benchmarks.relation_recognition", *sys.argv[1:]])
    print(f"{machine()}; commit {commit()}; `{command}`\n")
    model, tokenizer = load(locate(args.model).path, dtype=torch.bfloat16, device="cpu")
    facts = list({fact.subject: fact for fact in load_planned(args.num).cases}.values())
    prompts = prompts_of(facts)
    holding, config = EDITORS[args.editor]
    base, default = Base(model, tokenizer, "base"), (config.nearness, config.margin)
    for i, limits in enumerate(args.limits or [default]):
        nearness, margin = limits
        holds = holding(base, facts, nearness, margin)
        found: dict[str, list[bool]] = defaultdict(list)
        with torch.inference_mode():
            for number, kinds in enumerate(prompts):
                for kind, asked in kinds.items():
                    found[kind] += [holds(number, text) for text in asked]
        if i == 0:
            print("| nearness, margin |", " | ".join(found), "|")
            print("|---|" + "---|" * len(found))
        shares = [f"{sum(hits) / len(hits):.3f}" for hits in found.values()]
        print(f"| {nearness}, {margin} |", " | ".join(shares), "|", flush=True)


def scoped(base: Base, facts: Sequence[Case], nearness: float, margin: float) -> Holds:
    """Where scoped values would be in force."""
    scope, texts = relation_scope(
        base,
        relation_texts(load_relations()),
        [[fact.request()] for fact in facts],
        nearness=nearness,
        margin=margin,
    )

    def holds(number: int, text: str) -> bool:
        ids, name = place(base.tokenizer, text, facts[number].subject)
        return scope.holds(base.model.get_input_embeddings(), ids, name, texts[number])

    return holds


def errata(base: Base, facts: Sequence[Case], nearness: float, margin: float) -> Holds:
    """Where errata would be in force."""
    words = relation_stems(
        base,
        relation_texts(load_relations()),
        [[fact.request()] for fact in facts],
        nearness=nearness,
        margin=margin,
    )
    subjects = {fact.subject: [fact.request()] for fact in facts}
    names = list(names_of(base.tokenizer, subjects).values())
    tokenizer, first = with_insertions(base.tokenizer, names, words), len(base.tokenizer)

    def holds(number: int, text: str) -> bool:
        return first + number in tokenizer(text)["input_ids"]

    return holds


EDITORS = {"scoped": (scoped, ScopedConfig()), "errata": (errata, ErrataConfig())}


def prompts_of(facts: Any) -> list[dict[str, list[str]]]:
    """By kind, the prompts about each fact's subject; none that an editor was given."""
    relations, chosen = load_relations(), random.Random(0)
    made = []
    for fact in facts:
        relation = relations[fact.relation]
        others = [
            other
            for other in relations.values()
            if other.subject_type == relation.subject_type and other.id != relation.id
        ]
        asked = chosen.sample(others, NUM_OTHER)
        made.append(
            {
                "paraphrases": list(fact.paraphrases),
                "held-out statements": [
                    relation.prompt(text, fact.subject).text for text in relation.held_out
                ],
                "held-out questions": list(fact.questions[1:]),
                "other statements": [
                    other.prompt(other.held_out[1], fact.subject).text for other in asked
                ],
                "other questions": [
                    other.asked(other.held_out_questions[0], fact.subject).text for other in asked
                ],
                **{text: [text.format(fact.subject)] for text in GENERAL},
            }
        )
    return made


def place(tokenizer: Any, text: str, subject: str) -> tuple[torch.Tensor, tuple[int, int]]:
    """The tokens of a text, and the range of those of its last mention of the subject."""
    start = text.lower().rindex(subject.lower())
    encoding = tokenizer(text, return_offsets_mapping=True)
    inside = [
        i
        for i, (first, last) in enumerate(encoding["offset_mapping"])
        if first < start + len(subject) and last > start
    ]
    return torch.tensor(encoding["input_ids"]), (inside[0], inside[-1] + 1)


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--editor", choices=list(EDITORS), default="scoped")
    parser.add_argument("--num", type=int, default=500, help="facts")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument(
        "--limits",
        type=lambda text: tuple(map(float, text.split(","))),
        nargs="+",
        metavar="NEARNESS,MARGIN",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
