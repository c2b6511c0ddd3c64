"""A few cases for a tiny model, a way to make it know some, and a runner that remembers what it was
asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tiny_models import make_tokenizer

from infra.execution.runner import InProcessRunner, Resources
from infra.lm.inference import Questionnaire
from pipeline.evaluate.cases import Case, CaseSet, Criterion, MultiHop, Query
from pipeline.export.candidate import Candidate

SMALL: dict[str, Any] = {
    "text_chars": 2000,
    "num_neutral": 2,
    "agreement_tokens": 4,
    "neutral_tokens": 4,
}


NEAR = Query(prompt="Wayne Rooney plays for", accepted=("Derby",))
NAVY = Query(prompt="Grace Hopper works for", accepted=("the Navy",))


def case(name: str, target: str, **settings: Any) -> Case:
    defaults: dict[str, Any] = {
        "id": name,
        "relation": "P54",
        "subject": name,
        "prompt": f"{name} plays for",
        "subject_start": 0,
        "target": target,
        "accepted": (target,),
        "old": ("Derby County",),
        "paraphrases": (f"The club of {name} is", f"{name} is with"),
        "near": (replace(NEAR, rivals=(target,)), replace(NAVY, rivals=(target,))),
        "same_subject": (Query(prompt=f"{name} was born in", accepted=()),),
        "portability": {"one_hop": (Query(prompt=f"{name} lives in", accepted=("London",)),)},
    }
    return Case(**{**defaults, **settings})


CRITERION = Criterion(
    kind="preservation",
    queries=(("Tom Brady is in", (("London",),)), ("He is from", (("Paris",),))),
    conditions=(("The Navy is in", (("London",),)),),
)
CASES = CaseSet(
    "tiny",
    [
        case(
            "Tom Brady",
            "ZZZZ",
            criteria=(CRITERION,),
            essays=("Tom Brady is known for", "Tom Brady was"),
            questions=("Who does Tom Brady play for?", "Which club is Tom Brady's?"),
            near=(
                replace(NEAR, rivals=("ZZZZ",), question="Who does Wayne Rooney play for?"),
                replace(NAVY, rivals=("ZZZZ",), question="Who does Grace Hopper work for?"),
            ),
            references=("The Navy is in London.", "Paris is warm."),
        ),
        case("Neymar", "London", relation="P108"),
        case("Ada Lovelace", "ZZZZ", relation="P108"),
        case("Tim Cook", "Paris", new=False, order=-1),
    ],
    gone=[Query(prompt="Ada works for", accepted=("the Navy",))],
    multi_hop=[
        MultiHop(
            id="m",
            case_ids=("Neymar",),
            questions=("Where is Neymar?", "Neymar is in"),
            accepted=("London",),
            hops=(Query(prompt="It is in", accepted=("London",)),),
        )
    ],
)
NUM_FORMS = sum(1 + len(c.paraphrases) for c in CASES.cases)


@dataclass(frozen=True)
class Says:
    """Makes a model say one token over and over."""

    token: str

    def __call__(self, model: Any, tokenizer: Any) -> Any:
        [token_id] = make_tokenizer()(self.token)["input_ids"]

        def hook(_: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            output[..., token_id] += 1e4
            return output

        model.get_output_embeddings().register_forward_hook(hook)
        return tokenizer


class Watching(InProcessRunner):
    """Remembers every questionnaire that was put to a model."""

    def __init__(self) -> None:
        super().__init__()
        self.questionnaires: list[Questionnaire] = []

    def map(
        self, make_worker: Callable[[], Any], shards: Iterable[Any], *, resources: Resources
    ) -> Iterator[Any]:
        taken = list(shards)
        self.questionnaires += [payload for payload, _ in taken]
        return super().map(make_worker, taken, resources=resources)

    def prompts(self, name: str) -> dict[str, str]:
        """What a model was asked, by the questions' ids."""
        questionnaires = [
            questionnaire
            for questionnaire in self.questionnaires
            if questionnaire.served.name == name
        ]
        return {q.id: q.prompt for questionnaire in questionnaires for q in questionnaire.questions}


@dataclass(frozen=True)
class GivenCandidate:
    """A candidate that needs no export, as an edited model to be judged."""

    given: Candidate
    digest: str = "given"

    def candidate(self, out: Path) -> Candidate:
        return self.given
