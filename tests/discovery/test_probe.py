"""Verdicts: a belief needs likelihood and the model's own words; everything else is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from discovery.fact import Change
from discovery.probe import ProbeConfig, choose_candidates, judge, screen
from discovery.verbalise import load_relations
from infra.lm import Answer

RELATIONS = load_relations()
NEW, OLD, OTHER = "New Club", "Old Club", "Third Club"


def change(**settings: Any) -> Change:
    defaults: dict[str, Any] = {
        "id": "00000000000000ab",
        "kind": "replace",
        "rule": "11",
        "reason": "",
        "subject": "Q1",
        "subject_label": "Ann",
        "relation": "P54",
        "value_type": "entity",
        "old_values": ("Q2",),
        "old_labels": (OLD,),
        "new_value": "Q3",
        "new_label": NEW,
        "source": "test",
    }
    return Change(**{**defaults, **settings})


def verdict(scores: list[tuple[float, float, float]], said: list[str], **config: Any) -> str | None:
    """Verdict for log-likelihoods of (new, old, distractor) in three statements, priors being
    zero."""
    asked = [
        Answer(id="", logprobs=row, num_tokens=(1, 1, 1), greedy=text)
        for row, text in zip(scores, said, strict=True)
    ]
    names = (NEW, OLD, OTHER)
    return judge(
        change(), RELATIONS["P54"], names, asked, [[0.0] * 3] * 3, ProbeConfig(**config)
    ).verdict


NEW_WINS, OLD_WINS, OTHER_WINS = (-1.0, -5.0, -6.0), (-5.0, -1.0, -6.0), (-5.0, -6.0, -1.0)


@pytest.mark.parametrize(
    ("scores", "said", "expected"),
    [
        ([OLD_WINS] * 3, [OLD, "x", "x"], "stale"),
        ([OLD_WINS] * 2 + [NEW_WINS], [OLD] * 3, "stale"),
        ([NEW_WINS] * 3, [f"the {NEW}, of course", "x", "x"], "knows"),
        ([OLD_WINS] * 3, ["x"] * 3, "unknown"),
        ([NEW_WINS] * 3, ["x"] * 3, "unknown"),
        ([OTHER_WINS] * 3, ["x"] * 3, "unknown"),
        ([OTHER_WINS] * 3, [OLD] * 3, "unknown"),
        ([OLD_WINS] * 3, [OLD, NEW, "x"], "inconsistent"),
        ([OLD_WINS] * 3, [NEW] * 3, "inconsistent"),
        ([NEW_WINS] * 3, [OLD] * 3, "inconsistent"),
        ([(-1.0, -1.2, -1.5)] * 3, [NEW] * 3, "unknown"),
    ],
)
def test_verdicts(scores: Any, said: list[str], expected: str) -> None:
    """Each row of the rule; a lead within the margin is none."""
    assert verdict(scores, said) == expected


def test_the_prior_is_taken_off() -> None:
    """A frequent name that wins everywhere by being frequent does not win."""
    asked = [Answer(id="", logprobs=(-3.0, -1.0), num_tokens=(1, 1), greedy=NEW)] * 3
    names = (NEW, OLD)
    with_prior = judge(
        change(), RELATIONS["P54"], names, asked, [[-9.0, -1.0]] * 3, ProbeConfig(margin=0)
    )
    assert (with_prior.believed, with_prior.verdict) == (NEW, "knows")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kind": "conflict"}, "conflict"),
        ({"relation": "P99999"}, "unknown relation P99999"),
        ({"value_type": "quantity"}, "change too fast"),
        ({"relation": "P39"}, "several values at once"),
        ({"subject_label": None}, "subject has no English label"),
        ({"new_label": None}, "object has no English label"),
        ({"new_label": "x" * 61}, "longer than 60"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_reason(settings: Any, reason: str) -> None:
    """No change is dropped in silence."""
    assert reason in (screen(change(**settings), RELATIONS) or "")


def test_distractors_are_others_and_depend_on_the_change_alone() -> None:
    """Never the change's own names, and the order of changes does not matter."""
    changes = [
        change(id=f"{i:016x}", new_label=f"Club {i}", old_labels=(f"Club {i + 1}",))
        for i in range(30)
    ]
    chosen = choose_candidates(changes, 3)
    assert chosen == choose_candidates(changes[::-1], 3)
    for c in changes:
        assert chosen[c.id][:2] == (c.new_label, *c.old_labels)
        assert len(set(chosen[c.id])) == 5
