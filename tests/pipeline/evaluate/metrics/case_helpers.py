"""Cases and answers for the tests of metrics."""

from __future__ import annotations

from typing import Any

from infra.lm.question import Answer
from pipeline.evaluate.cases import Case, CaseSet, Query
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores


def case(name: str = "x", **settings: Any) -> Case:
    defaults: dict[str, Any] = {
        "id": name,
        "relation": "P54",
        "subject": name,
        "prompt": f"{name} plays for",
        "subject_start": 0,
        "target": "New Club",
        "accepted": ("New Club", "NC"),
        "old": ("Old Club",),
        "paraphrases": (f"The club of {name} is", f"{name} is with"),
    }
    return Case(**{**defaults, **settings})


def answer(said: str, new: float = -1.0, other: float = -2.0, **more: Any) -> Answer:
    """`new` and `other`: log-likelihoods of the first and second candidate, a token each."""
    settings: dict[str, Any] = {
        "id": "",
        "logprobs": (new, other),
        "num_tokens": (1, 1),
        "num_argmax": (1, 0),
        "greedy": said,
        "greedy_ids": tuple(map(ord, said)),
    }
    return Answer(**{**settings, **more})


def answer_set(
    answers: dict[str, Answer], *cases: Case, base: dict[str, Answer] | None = None, **more: Any
) -> AnswerSet:
    config = more.pop("config", EvaluateConfig())
    fields = {k: more.pop(k) for k in ("gone", "multi_hop") if k in more}
    return AnswerSet(
        cases=CaseSet("test", cases or (case(),), **fields),
        config=config,
        answers=answers,
        base=answers if base is None else base,
        **more,
    )


def value(scores: Scores, name: str) -> float:
    """The number itself."""
    found = scores[name]
    return found.metric().value if hasattr(found, "metric") else found.value  # type: ignore[union-attr]


def near(prompt: str = "n plays for") -> Query:
    return Query(prompt=prompt, accepted=("Own Club",), rivals=("New Club",))
