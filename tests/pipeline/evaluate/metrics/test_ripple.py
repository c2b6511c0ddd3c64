"""Which tests of RippleEdits count, and which pass."""

from __future__ import annotations

from typing import Any

import pytest
from case_helpers import answer, answer_set, case, value

from infra.lm.question import Answer
from pipeline.evaluate.cases import Case, Criterion
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.metrics.portability import ripple
from pipeline.evaluate.scoring.family import Scores, merged
from pipeline.evaluate.scoring.metric import Measured

KIND = "logical_generalization"


def criterion(kind: str = KIND, **settings: Any) -> Criterion:
    """Two queries and one condition."""
    defaults: dict[str, Any] = {
        "queries": (("The city of x is", (("Rome", "Roma"),)), ("x lives in", (("Italy",),))),
        "conditions": (("New Club is in", (("Rome",),)),),
    }
    return Criterion(kind=kind, **{**defaults, **settings})


def scored(
    after: dict[str, str], before: dict[str, str], *criteria: Criterion, edit: str = "New Club"
) -> Scores:
    """What one fact's criteria come to; keys are `<criterion>/q<k>`, all else is silence."""
    fact = case(criteria=criteria or (criterion(),))
    keys = [q.id for q in asked(fact)]

    def paper(said: dict[str, str]) -> dict[str, Answer]:
        return {key: answer(said.get(key.removeprefix("ripple/x/"), "")) for key in keys}

    return ripple.score(
        answer_set({**paper(after), "edit/x/0": answer(edit)}, fact, base=paper(before))
    )


def asked(fact: Case) -> list[Any]:
    return merged(ripple.questions(answer_set({}, fact).cases, EvaluateConfig()))


RIGHT = {"0/q0": "the city of Roma", "0/q1": "Italy."}
KNOWN = {"0/c0": "in Rome"}


def test_it_asks_each_query_and_condition_to_its_natural_end() -> None:
    """Under ids that say whose they are; a target that comes late is not cut off by `until`. A
    fact without criteria is not asked about."""
    found = {q.id: q for q in asked(case(criteria=(criterion(),)))}
    assert found.keys() == {"edit/x/0", "ripple/x/0/q0", "ripple/x/0/q1", "ripple/x/0/c0"}
    query = found["ripple/x/0/q0"]
    assert (query.greedy, query.until, query.max_new_tokens) == (True, None, 32)
    assert not asked(case())


def test_a_test_that_counts_passes_by_its_aliases() -> None:
    """Any alias anywhere in the continuation, as whole words; all queries where all are needed."""
    made = scored(RIGHT, KNOWN)
    assert (value(made, f"ripple_{KIND}"), value(made, f"ripple_{KIND}_executed")) == (1, 1)
    for wrong in ({"0/q0": "Romania"}, {"0/q1": "no"}):
        assert value(scored({**RIGHT, **wrong}, KNOWN), f"ripple_{KIND}") == 0


def test_one_query_is_enough_where_one_is() -> None:
    """OR over queries: one right passes, none fails."""
    either = criterion(all_of=False)
    assert value(scored({"0/q1": "Italy"}, KNOWN, either), f"ripple_{KIND}") == 1
    assert value(scored({}, KNOWN, either), f"ripple_{KIND}") == 0


def test_a_query_needs_all_its_targets() -> None:
    """Each by any of its names."""
    both = criterion(queries=(("His sons are", (("Al", "Albert"), ("Bo",))),))
    assert value(scored({"0/q0": "Albert and Bo"}, KNOWN, both), f"ripple_{KIND}") == 1
    assert value(scored({"0/q0": "Al and Albert"}, KNOWN, both), f"ripple_{KIND}") == 0


@pytest.mark.parametrize(
    ("before", "edit"), [({}, "New Club"), ({"0/c0": "in Turin"}, "NC"), (KNOWN, "Old Club")]
)
def test_it_counts_only_if_base_and_edit_are_right(before: dict[str, str], edit: str) -> None:
    """A condition that the base misses, or a failed edit: not executed, neither passed nor failed,
    whatever the queries say."""
    made = scored(RIGHT, before, edit=edit)
    found = made[f"ripple_{KIND}"]
    assert isinstance(found, Measured) and not found.items
    assert value(made, f"ripple_{KIND}_executed") == 0


def test_conditions_are_the_bases() -> None:
    """What the edited model says of them does not matter."""
    assert value(scored({**RIGHT, "0/c0": "Paris"}, KNOWN), f"ripple_{KIND}_executed") == 1
    free = criterion("preservation", conditions=())
    assert value(scored(RIGHT, {}, free), "ripple_preservation") == 1


def test_the_mean_is_over_facts_of_passed_by_executed() -> None:
    """By a slow count: of three tests two count and one passes; of another fact the only one."""
    one = case("x", criteria=tuple(criterion(all_of=False) for _ in range(3)))
    two = case("y", criteria=(criterion(all_of=False),))
    base = {f"ripple/x/{n}/c0": answer("Rome" if n else "no") for n in range(3)}
    base["ripple/y/0/c0"] = answer("Rome")
    after = {
        f"ripple/x/{n}/q{k}": answer("Rome" if n == 1 else "") for n in range(3) for k in (0, 1)
    }
    after |= {f"ripple/y/0/q{k}": answer("Rome, Italy") for k in (0, 1)}
    after |= {f"edit/{i}/0": answer("New Club") for i in "xy"}
    made = ripple.score(answer_set(after, one, two, base=base))
    assert value(made, f"ripple_{KIND}") == (1 / 2 + 1) / 2
    assert value(made, f"ripple_{KIND}_executed") == pytest.approx((2 / 3 + 1) / 2)


def test_what_was_not_asked_is_not_counted() -> None:
    """A parent release gets the edits' own prompts only; a query without targets proves nothing."""
    fact = case(criteria=(criterion(),))
    assert not ripple.score(answer_set({"edit/x/0": answer("New Club")}, fact))
    empty = criterion(queries=(("It is", ()),))
    assert [q.id for q in asked(case(criteria=(empty,)))] == ["edit/x/0", "ripple/x/0/c0"]
    assert not scored({}, KNOWN, empty)
