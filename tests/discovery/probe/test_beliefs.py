"""Verdicts: a belief needs likelihood and the model's own words; everything else is unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from discovery_helpers import make_change as change
from probe_helpers import NEW, NEW_WINS, OLD, OLD_WINS, OTHER, OTHER_WINS, belief
from pyarrow.parquet import read_table

from discovery.facts.dates import days, iso_interval
from discovery.facts.tables import from_table
from discovery.probe.beliefs.belief import abstains
from discovery.probe.beliefs.calibration import (
    holds_in_paraphrases,
)
from discovery.probe.beliefs.candidates import candidates_of, choose_candidates, why_not_askable
from discovery.probe.beliefs.verdicts import ask_beliefs, choose_unchanged
from discovery.probe.config import ProbeConfig
from discovery.probe.output import Verdict
from discovery.relations.relation import fallback_relation, load_relations
from infra.lm.inference import Compute, ServedModel
from infra.lm.question import Answer
from infra.storage.stage_dir import StageDir
from infra.storage.workspace import Workspace

RELATIONS = load_relations()


def verdict(scores: list[tuple[float, float, float]], said: list[str]) -> str | None:
    """Verdict for log-likelihoods of (new, old, distractor) in three statements, priors being
    zero."""
    return belief(scores, said).verdict


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


@pytest.mark.parametrize(
    ("settings", "said", "expected"),
    [
        ({"new_label": "Serie A", "old_labels": ("Serie B",)}, ["Serie B"] * 3, "stale"),
        ({"new_label": "C", "old_labels": ("C++",)}, ["C++ is a language"] * 3, "stale"),
        (
            {"new_label": "New York", "old_labels": ("New York City",)},
            ["New York City"] * 3,
            "stale",
        ),
        ({"new_label": "New York City", "old_labels": ("New York",)}, ["New York"] * 3, "stale"),
        ({"new_label": "The Who", "old_labels": ("Who",)}, ["Who are they"] * 3, "stale"),
        ({"new_aliases": ("NO", "NOR")}, ["no one", "No. She was", "nor is it"], "unknown"),
        ({"new_aliases": ("IN", "In")}, ["in the north", "In a village", "in"], "unknown"),
    ],
)
def test_what_another_value_begins_with_is_not_it(
    settings: Any, said: list[str], expected: str
) -> None:
    """An answer is the longest value that it begins with, and a code is no everyday word."""
    about = change(**settings)
    names = (about.new_label or "", *about.old_labels, OTHER)
    wins = OLD_WINS if expected == "stale" else NEW_WINS
    assert belief([wins] * 3, said, names, about).verdict == expected


def test_a_distractor_may_begin_as_a_value_does() -> None:
    """A longer name of the same relation is another object, and an answer that says it is that
    object."""
    changes = [
        replace(change(), id=f"{n:016x}", new_label=label, new_aliases=())
        for n, label in enumerate(("Serie B", "Serie", "Serie BB", "the Serie"))
    ]
    chosen = choose_candidates(changes, 9)
    assert set(chosen[changes[1].id][2:]) == {"Serie B", "Serie BB"}
    names = chosen[changes[1].id]
    scores = [[-1.0] + [-5.0] * (len(names) - 1)] * 3
    assert belief(scores, ["Serie B"] * 3, names, changes[1]).verdict == "unknown"


def test_the_prior_is_taken_off() -> None:
    """A frequent name that wins everywhere by being frequent does not win."""
    with_prior = belief([(-3.0, -1.0, -9.0)] * 3, [NEW] * 3, priors=[-9.0, -1.0, -9.0], margin=0)
    assert (with_prior.winner, with_prior.verdict) == (0, "knows")


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
    assert reason in (why_not_askable(change(**settings), RELATIONS) or "")


def test_a_relation_with_a_name_alone_is_refused_by_it() -> None:
    """What only the source names is refused under that name; where a user says that it has one
    value at a time, it is asked in templates made of its label."""
    c = change(relation="P822")
    made = fallback_relation("P822", "mascot")
    assert (
        why_not_askable(c, {"P822": made}) == "mascot (P822) is in no relations file: no templates"
    )
    said = fallback_relation("P822", "mascot", functional=True)
    assert why_not_askable(c, {"P822": said}) is None


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


def test_without_distractors_words_decide() -> None:
    """Likelihood that was compared with nothing proves nothing: what the model says is known is
    known, what it does not say is not; there is no margin."""
    known = belief([(-1.0,)] * 3, [NEW] * 3, names=(NEW,), about=change(old_labels=()))
    assert (known.verdict, known.margin, known.weights) == ("knows", 0, (1.0,))
    silent = belief([(-1.0,)] * 3, ["x"] * 3, names=(NEW,), about=change(old_labels=()))
    assert silent.verdict == "unknown"
    assert belief([(-5.0, -1.0)] * 3, [OLD] * 3, names=(NEW, OLD)).verdict == "stale"
    assert belief([(-1.0, -5.0)] * 3, [OLD] * 3, names=(NEW, OLD)).verdict == "inconsistent"


def test_all_old_values_are_candidates_once() -> None:
    """Every value of the past, cleaned; a label of two tenures, or of the new value, is one
    candidate; an empty one is none."""
    c = change(old_labels=(OLD, "Older\u200b Club", OLD, NEW, "\n"))
    assert candidates_of(c) == (NEW, OLD, "Older Club")
    chosen = choose_candidates([c, change(id="1", new_label="A"), change(id="2", new_label="B")], 2)
    assert chosen[c.id][:3] == (NEW, OLD, "Older Club") and len(chosen[c.id]) == 5


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", True),
        (" ,", True),
        ("not known.", True),
        ("unknown", True),
        ("I don't know, but", True),
        ("I\u2019m sorry", True),
        ("currently not known", True),
        ("to be announced", True),
        ("Ann", True),
        ("[name here]", True),
        ("New Club, unknown to many", False),
        ("I. M. Pei", False),
        ("Northern Ireland", False),
        ("a club in the town", False),
        ("Notts County", False),
        ("Annecy", False),
    ],
)
def test_what_is_no_answer(said: str, expected: bool) -> None:
    """Nothing, not knowing, an apology or the subject again are no answer; another name is one."""
    assert abstains(said, change()) is expected


def test_abstention_is_unknown() -> None:
    """Where most statements get no answer the verdict is `unknown`, however likelihood leans; a
    value called Unknown is an answer."""
    silent = belief([OLD_WINS] * 3, [OLD, "unknown", ""])
    assert (silent.verdict, silent.abstained) == ("unknown", 2)
    assert belief([OLD_WINS] * 3, [OLD, OLD, "unknown"]).verdict == "stale"
    named = change(new_label="Unknown")
    spoken = belief([NEW_WINS] * 3, ["Unknown"] * 3, ("Unknown", OLD, OTHER), named)
    assert (spoken.verdict, spoken.abstained) == ("knows", 0)


def test_a_belief_holds_where_it_wins_most_paraphrases() -> None:
    """The prior is taken off there too; half is not most."""
    asked = [
        Answer(id="", logprobs=row, num_tokens=(1, 1), greedy=None)
        for row in [(-1.0, -2.0), (-1.0, -2.0), (-2.0, -1.0)]
    ]
    assert holds_in_paraphrases(0, asked, [0.0, 0.0])
    assert not holds_in_paraphrases(0, asked, [0.0, -5.0])
    assert not holds_in_paraphrases(0, asked[1:], [0.0, 0.0])


def test_unchanged_facts_are_of_the_relations_probed() -> None:
    """Only facts that did not change and could be asked, as many as wanted, in any order."""
    keeps = [change(id=f"{i:016x}", kind="keep") for i in range(20)]
    others = [change(id=f"{i:016x}", kind="keep", relation="P6") for i in range(20, 30)]
    wrong = [change(id=f"{30:016x}", kind="keep", new_label=None)]
    pool = [*keeps, *others, *wrong]
    chosen = choose_unchanged(pool, [change()], RELATIONS, 12)
    assert chosen == choose_unchanged(pool[::-1], [change()], RELATIONS, 12)
    assert len(chosen) == 12 and all(c.relation == "P54" for c in chosen)
    assert len(choose_unchanged(pool, [change()], RELATIONS, 99)) == 20


def test_the_stage_writes_a_row_a_change_and_its_reports(
    checkpoint: Callable[[str], Path], workspace: Workspace, runner: Any
) -> None:
    """A real model over a real questionnaire: objects of many tokens that begin alike, several old
    values, a change that is refused; calibrated where enough did not change."""
    day = iso_interval("2019-05-01")
    names = ["the Navy", "the Navy in London", "Paris", "Apple", "Derby"]
    learn = [
        change(
            id=f"{i:016x}",
            subject_label=f"Tom {i}",
            new_label=names[i % 5],
            old_labels=(names[(i + 1) % 5], names[(i + 2) % 5]),
            old_starts=(iso_interval("2010"), None),
            old_ends=(day, None),
            since=day,
        )
        for i in range(6)
    ]
    keep = [
        replace(c, id=f"{100 + i:016x}", kind="keep", subject_label=f"Ada {i}", old_labels=())
        for i, c in enumerate(learn * 5)
    ]
    refused = change(id="ff", kind="conflict")
    changes = [*learn, refused, *keep]
    out = StageDir(workspace.root / "probe")
    counts = ask_beliefs(
        changes,
        RELATIONS,
        as_of_date=date(2020, 1, 1),
        named={},
        served=ServedModel(name="tiny", path=checkpoint("llama")),
        config=ProbeConfig(),
        compute=Compute(max_new_tokens=4),
        out=out,
        runner=runner,
    )
    rows = from_table(read_table(out.path / "verdicts.parquet"), Verdict)
    assert [row.change_id for row in rows] == [c.id for c in changes]
    asked = [row for row in rows if row.verdict]
    assert len(asked) == counts["probed"] == 6 and counts["unchanged"] == 30
    for row in asked:
        assert row.num_candidates in (4, 5) and row.abstained is not None
        assert 0 <= (row.p_stale or 0) <= 1 and 0 <= (row.confidence or 0) <= 1
        if row.as_of is not None:
            assert row.as_of.earliest < row.as_of.latest <= days(date(2020, 1, 1)) + 1
    report = out.read_json("calibration.json")
    assert report["n"] == 30
    assert set(out.read_json("cutoff.json")) == {"schema", "relations"}
    assert "</html>" in (out.path / "cutoff.html").read_text()
