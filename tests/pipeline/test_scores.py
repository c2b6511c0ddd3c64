"""Answers into numbers, numbers against bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from infra.errors import GateError
from infra.lm import Answer
from pipeline.edits import Neighbour, PlannedEdit, Removal
from pipeline.gate import CHECKS, GateConfig, check, require_passed
from pipeline.metrics import perplexity, share, wilson
from pipeline.scores import form_id, near_id, other_id, removal_id, score_model


def planned(name: str, **settings: Any) -> PlannedEdit:
    defaults: dict[str, Any] = {
        "id": name,
        "action": "correct",
        "subject": name,
        "subject_label": name,
        "relation": "P54",
        "prompt": f"{name} plays for",
        "subject_start": 0,
        "subject_end": len(name),
        "target": "New Club",
        "target_value": "Q1",
        "accepted": ("New Club", "NC"),
        "old_targets": ("Old Club",),
        "held_out": ("one", "two"),
        "unrelated": (),
        "since": "v1",
        "priority": 0.0,
        "reason": "",
        "change_id": name,
        "source": "test",
        "statement": None,
        "revision": None,
        "revision_time": None,
        "references": (),
    }
    return PlannedEdit(**{**defaults, **settings})


def answer(said: str, new: float = -1.0, other: float = -2.0) -> Answer:
    ids = tuple(map(ord, said))
    return Answer(id="", logprobs=(new, other), num_tokens=(1, 1), greedy=said, greedy_ids=ids)


def scores(answers: dict[str, Answer], base: dict[str, Answer] | None = None, **more: Any) -> Any:
    settings: dict[str, Any] = {"edits": [planned("x")], "removals": [], "neighbours": [], **more}
    return score_model(
        answers,
        base or answers,
        [],
        settings["edits"],
        settings["removals"],
        settings["neighbours"],
        agreement_tokens=6,
    )


def test_reliability_is_by_the_models_own_words_and_by_likelihood() -> None:
    """An alias counts; a preferred answer that is not given counts by likelihood alone."""
    answers = {
        form_id("x", 0): answer("NC, the club"),
        form_id("x", 1): answer("something else"),
        form_id("x", 2): answer("New Club.", new=-3.0),
    }
    made = scores(answers)
    assert made["reliability_greedy"].value == 1
    assert made["generality_greedy"].value == 0.5
    assert made["generality_likelihood"].value == 0.5
    assert made["superseded"].value == 0


def test_an_old_value_is_superseded_by_prompt_and_by_paraphrase() -> None:
    """Counted apart; after a removal too, on its own prompt."""
    answers = {form_id("x", i): answer("New Club") for i in range(3)}
    answers[form_id("x", 2)] = answer("the Old Club of")
    made = scores(answers)
    assert (made["superseded"].value, made["superseded_paraphrase"].value) == (0, 0.5)
    answers[form_id("x", 0)] = answer("Old Club")
    gone = Removal(
        id="g",
        subject="g",
        subject_label="g",
        relation="P54",
        prompt="g",
        target="Gone FC",
        reason="",
    )
    answers[removal_id("g")] = answer("Other")
    assert scores(answers, removals=[gone])["superseded"].value == 0.5
    answers[removal_id("g")] = answer("Gone FC")
    assert scores(answers, removals=[gone])["superseded"].value == 1


def test_carried_edits_are_retention_not_reliability() -> None:
    """New and old edits are never averaged."""
    edits = [planned("x"), planned("y", action="carry")]
    answers = {
        form_id(n, i): answer("New Club" if n == "x" else "no") for n in "xy" for i in (0, 1)
    }
    made = scores(answers, edits=edits)
    assert (made["reliability_greedy"].value, made["reliability_greedy"].n) == (1, 1)
    assert (made["retention_greedy"].value, made["retention_greedy"].n) == (0, 1)


def test_locality_compares_with_the_base_token_by_token() -> None:
    """A neighbour that starts with an edited object is a leak; another continuation is
    disagreement."""
    near = Neighbour(
        id="n",
        relation="P54",
        prompt="n",
        target="Own",
        accepted=("Own",),
        edited_target="New Club",
    )
    base = {near_id("n"): answer("Own Club"), other_id("x"): answer("Berlin in 1970")}
    after = {
        form_id("x", 0): answer("New Club"),
        near_id("n"): answer("New Club", new=-5.0),
        other_id("x"): answer("Berlin in 1980"),
    }
    made = scores(after, base, neighbours=[near])
    assert made["neighbourhood"].value == 0
    assert made["leak"].value == 1
    assert made["neighbour_agreement"].value == 0
    assert made["unrelated_agreement"].value == 1  # the first six tokens are the same


def test_wilson_against_the_textbook() -> None:
    """Wilson 1927, p = 0.9, n = 100: 0.826-0.945."""
    assert wilson(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert share([], "p", empty=0.0).value == 0


def test_perplexity_is_by_token() -> None:
    """Pieces weigh by their tokens."""
    assert perplexity([(-2.0, 1), (-6.0, 3)], "p").value == pytest.approx(math.exp(2))


REPORT = {
    "paired_retention": {"lost": 2, "gained": 1, "n": 200},
    "base": {"neighbourhood": {"value": 0.7}, "perplexity": {"value": 20.0}},
    "candidate": {
        name: {"value": value}
        for name, value in {
            "reliability_likelihood": 0.95,
            "reliability_greedy": 0.8,
            "generality_likelihood": 0.7,
            "superseded": 0.0,
            "superseded_paraphrase": 0.01,
            "neighbourhood": 0.68,
            "perplexity": 20.5,
        }.items()
    },
}
BROKEN = {
    "reliability_likelihood": 0.5,
    "reliability_greedy": 0.1,
    "generality_likelihood": 0.1,
    "superseded": 0.3,
    "superseded_paraphrase": 0.3,
    "neighbourhood": 0.4,
    "perplexity": 30.0,
}


def test_a_good_report_passes() -> None:
    """No bound is out of reach of a sound release."""
    assert all(c.passed for c in check(REPORT, 0.0, GateConfig()))


@pytest.mark.parametrize("metric", BROKEN)
def test_each_bound_fails_alone_and_says_by_how_much(metric: str) -> None:
    """One broken number fails one check, the right one."""
    report = {**REPORT, "candidate": {**REPORT["candidate"], metric: {"value": BROKEN[metric]}}}
    [failed] = [c for c in check(report, 0.0, GateConfig()) if not c.passed]
    assert failed.name.startswith(metric)
    assert "off by" in failed.sentence
    with pytest.raises(GateError, match=rf"{failed.name} is .* allowed"):
        require_passed("v", [failed.sentence])


@pytest.mark.parametrize(
    ("lost", "gained", "n", "passes"),
    [
        (1, 0, 9, True),  # 0.111 is within 2 x 0.105
        (3, 0, 9, False),
        (9, 0, 9, False),
        (1, 0, 1, False),
        (2, 0, 200, True),  # a fall of 0.01
        (6, 1, 200, True),  # 0.025, within 2 x 0.0130
        (8, 1, 200, False),  # 0.035
        (0, 5, 9, True),
        (0, 0, 0, True),
    ],
)
def test_forgetting_is_judged_on_the_same_facts(
    lost: int, gained: int, n: int, passes: bool
) -> None:
    """A fall beyond a point and beyond two standard errors of the paired difference fails."""
    report = {**REPORT, "paired_retention": {"lost": lost, "gained": gained, "n": n}}
    failed = [c.name for c in check(report, 0.0, GateConfig()) if not c.passed]
    assert failed == ([] if passes else ["retention_drop"])


def test_a_batch_that_loses_many_edits_fails() -> None:
    """Quarantine has a bound, and every check has one in the config."""
    [failed] = [c for c in check(REPORT, 0.2, GateConfig()) if not c.passed]
    assert failed.name == "quarantined"
    assert set(CHECKS) == set(GateConfig.model_fields)
