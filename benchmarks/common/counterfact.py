"""The CounterFact facts (arXiv:2202.05262) that benchmarks run on."""

from __future__ import annotations

import gzip
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from discovery.relations.relation import ClozePrompt, Relation, load_relations
from editors.request import Wording
from pipeline.datasets import load_cases
from pipeline.evaluate.cases import Case, CaseSet, Query

DATA = Path(__file__).parents[1] / "data" / "counterfact.jsonl.gz"
"""The file of the facts (`benchmarks/data/SOURCES.md`)."""
NAMES = DATA.with_name("counterfact_names.tsv.gz")
"""Further subjects, of which no fact is edited."""


class Name(NamedTuple):
    """A subject that is not edited, and one true fact about it."""

    subject: str
    relation: str
    """Id of the relation."""
    target: str
    """The true object."""


def load_facts(num: int) -> CaseSet:
    """The first `num` facts. Raises ConfigError where there are fewer."""
    return load_cases("counterfact", DATA, num=num)


def load_names() -> list[Name]:
    """Subjects that are in none of the facts."""
    text = gzip.decompress(NAMES.read_bytes()).decode("utf-8")
    return [Name(*line.split("\t")) for line in text.splitlines()]


def load_planned(num: int, *, num_near: int = 2, num_other: int = 2) -> CaseSet:
    """The first `num` facts of relations that we have templates for, as a plan would have them.

    The editor is given CounterFact's prompt, the relation's statements, but for those that a
    paraphrase of CounterFact ends with, and its question. Held out are CounterFact's paraphrases
    and neighbours, our held-out questions, a question about another subject of the relation, and
    held-out statements of `num_other` other relations that the subject could have.
    """
    relations = load_relations()
    names: dict[str, list[Name]] = defaultdict(list)
    for name in load_names():
        names[name.relation].append(name)
    facts = [case for case in load_facts(1100).cases if case.relation in relations][:num]
    chosen = random.Random(0)
    cases = [_planned(case, relations, names, num_near, num_other, chosen) for case in facts]
    return CaseSet(f"counterfact-planned-{num}", tuple(cases))


def template(case: Case) -> str:
    """The prompt of a case, with `{}` in place of the subject."""
    end = case.subject_start + len(case.subject)
    return f"{case.prompt[: case.subject_start]}{{}}{case.prompt[end:]}"


def _planned(
    case: Case,
    relations: Mapping[str, Relation],
    names: Mapping[str, list[Name]],
    num_near: int,
    num_other: int,
    chosen: random.Random,
) -> Case:
    relation = relations[case.relation]
    wordings = [relation.prompt(text, case.subject) for text in relation.statements]
    question = relation.asked(relation.question, case.subject)
    held_out = [relation.asked(text, case.subject).text for text in relation.held_out_questions]
    others = [
        other
        for other in relations.values()
        if other.subject_type == relation.subject_type and other.id != relation.id
    ]
    near = [*case.near[:num_near], *_asked_of(chosen, relation, names[case.relation], case.target)]
    return replace(
        case,
        wordings=tuple(
            _wording(text)
            for text in wordings
            if text.text != case.prompt and not any(p.endswith(text.text) for p in case.paraphrases)
        ),
        questions=(question.text, *held_out),
        question_start=question.subject_span[0],
        near=tuple(near),
        same_subject=tuple(
            Query(prompt=other.prompt(text, case.subject).text, accepted=())
            for other in chosen.sample(others, num_other)
            for text in [chosen.choice(other.held_out)]
        ),
    )


def _asked_of(
    chosen: random.Random, relation: Relation, names: list[Name], target: str
) -> Iterator[Query]:
    """A neighbour with a question, of which the true object is not the edit's."""
    others = [name for name in names if name.target != target]
    if others:
        name = chosen.choice(others)
        yield Query(
            prompt=relation.prompt(relation.statements[0], name.subject).text,
            accepted=(name.target,),
            rivals=(target,),
            question=relation.ask(name.subject),
        )


def _wording(prompt: ClozePrompt) -> Wording:
    return Wording(prompt.text, prompt.subject_span)
