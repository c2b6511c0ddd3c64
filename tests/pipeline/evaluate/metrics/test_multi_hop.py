"""Questions of several hops: right by any phrasing, and right given that the hops are."""

from __future__ import annotations

import random

from case_helpers import answer, answer_set, value

from pipeline.evaluate.cases import MultiHop, Query
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.metrics.portability import multi_hop
from pipeline.evaluate.scoring.family import merged
from pipeline.evaluate.scoring.metric import Measured


def hop(name: str = "m") -> MultiHop:
    return MultiHop(
        id=name,
        case_ids=("x",),
        questions=("Where is x's club?", "x's club is in", "The town of x's club is"),
        accepted=("Rome", "Roma"),
        hops=(
            Query(prompt="x plays for", accepted=("New Club",)),
            Query(prompt="New Club is in", accepted=("Rome",)),
        ),
    )


def test_it_asks_every_phrasing_and_every_hop() -> None:
    """Under ids by which the context row leaves them out, each until its own answers are settled;
    edited facts' prompts among them are held out from no one, the rest are."""
    cases = answer_set({}, multi_hop=(hop(),)).cases
    found = {q.id: q for q in merged(multi_hop.questions(cases, EvaluateConfig()))}
    assert list(found) == ["hop/m/q0", "hop/m/q1", "hop/m/q2", "hop/m/h0", "hop/m/h1"]
    assert found["hop/m/q2"].until == ("Rome", "Roma")
    assert found["hop/m/h0"].until == ("New Club",)
    held_out = cases.prompts_held_out()
    assert {"New Club is in", *hop().questions} <= held_out and "x plays for" not in held_out


def test_any_phrasing_is_enough() -> None:
    """By an alias at the beginning; in the middle of an answer it is not enough."""
    answers = {f"hop/m/q{k}": answer("no") for k in range(3)}
    assert value(multi_hop.score(answer_set(answers, multi_hop=(hop(),))), "multi_hop") == 0
    answers["hop/m/q1"] = answer("in Rome")
    assert value(multi_hop.score(answer_set(answers, multi_hop=(hop(),))), "multi_hop") == 0
    answers["hop/m/q2"] = answer("Roma, Italy")
    assert value(multi_hop.score(answer_set(answers, multi_hop=(hop(),))), "multi_hop") == 1


def test_the_three_numbers_equal_a_slow_count() -> None:
    """On random answers; items are the questions, and what is given is that all hops are right."""
    rng = random.Random(0)
    hops = [hop(str(i)) for i in range(40)]
    right: dict[str, bool] = {}
    for item in hops:
        for part in ("q0", "q1", "q2", "h0", "h1"):
            right[f"hop/{item.id}/{part}"] = rng.random() < (0.2 if part[0] == "q" else 0.7)
    says = {"q": "Rome", "h0": "New Club", "h1": "Rome"}
    answers = {
        key: answer((says.get(key[-2:]) or says["q"]) if hit else "no")
        for key, hit in right.items()
    }
    made = multi_hop.score(answer_set(answers, multi_hop=hops))
    any_right = {i.id: any(right[f"hop/{i.id}/q{k}"] for k in range(3)) for i in hops}
    both = {i.id: [right[f"hop/{i.id}/h{k}"] for k in range(2)] for i in hops}
    assert value(made, "multi_hop") == sum(any_right.values()) / 40
    assert value(made, "hop_recall") == sum(map(sum, both.values())) / 80
    given = [any_right[i] for i in any_right if all(both[i])]
    assert 0 < len(given) < 40
    assert value(made, "multi_hop_given_hops") == sum(given) / len(given)
    found = made["multi_hop_given_hops"]
    assert isinstance(found, Measured) and set(found.items) < {i.id for i in hops}


def test_of_a_model_that_was_not_asked_there_is_no_number() -> None:
    """The parent release is asked about edits only."""
    made = multi_hop.score(answer_set({}, multi_hop=(hop(),)))
    assert not any(isinstance(m, Measured) and m.items for m in made.values())
