"""Answers into numbers, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from case_helpers import answer, answer_set, case, near, value

from infra.lm.question import Question, TextScore
from pipeline.evaluate.cases import Query
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.metrics import METRICS
from pipeline.evaluate.metrics.efficacy import generation, preference, teacher_forced
from pipeline.evaluate.metrics.health import perplexity
from pipeline.evaluate.metrics.locality import agreement, retention
from pipeline.evaluate.metrics.portability import single_hop
from pipeline.evaluate.scoring.family import merged
from pipeline.evaluate.scoring.metric import Measured


def test_reliability_is_by_the_models_own_words() -> None:
    """An alias counts as right, more words behind it are not exact; paraphrases are apart."""
    answers = {
        "edit/x/0": answer("NC, the club"),
        "edit/x/1": answer("something else"),
        "edit/x/2": answer("the new club."),
    }
    made = generation.score(answer_set(answers))
    assert (value(made, "reliability"), value(made, "reliability_exact")) == (1, 0)
    assert (value(made, "generality"), value(made, "generality_exact")) == (0.5, 0.5)
    assert value(made, "superseded") == 0


def test_one_token_of_the_target_is_not_the_answer() -> None:
    """Neither the first word of it, nor it in the middle of the answer, which `contains` sees."""
    made = generation.score(answer_set({"edit/x/0": answer("New")}))
    assert value(made, "reliability") == 0
    made = generation.score(answer_set({"edit/x/0": answer("his New Club")}))
    assert (value(made, "reliability"), value(made, "contains")) == (0, 1)


def test_an_old_value_is_superseded_by_prompt_and_by_paraphrase() -> None:
    """Counted apart; of edits taken out too."""
    answers = {f"edit/x/{i}": answer("New Club") for i in range(3)}
    answers["edit/x/2"] = answer("the Old Club of")
    made = generation.score(answer_set(answers))
    assert (value(made, "superseded"), value(made, "superseded_paraphrase")) == (0, 0.5)
    gone = [Query(prompt="g", accepted=("Gone FC",))]
    answers["gone/0"] = answer("Gone FC")
    assert value(generation.score(answer_set(answers, gone=gone)), "superseded") == 0.5
    answers["gone/0"] = answer("Other")
    assert value(generation.score(answer_set(answers, gone=gone)), "superseded") == 0


def test_an_answer_is_the_longest_value_that_it_begins_with() -> None:
    """What names an old value, a rival or a neighbour's own object is no target, although the
    target is its beginning."""
    fact = case(
        target="Serie A",
        accepted=("Serie A", "Serie", "SA"),
        old=("Serie B",),
        rivals=("Serie C",),
        near=(Query(prompt="n plays in", accepted=("Serie D",)),),
    )
    for said, right, old in (
        ("Serie A, of course", 1, 0),
        ("Serie B, of course", 0, 1),
        ("Serie C, of course", 0, 0),
        ("SA", 1, 0),
        ("Sa and so", 0, 0),
    ):
        answers = {"edit/x/0": answer(said), "near/x/0": answer(said)}
        made = generation.score(answer_set(answers, fact))
        assert (value(made, "reliability"), value(made, "superseded")) == (right, old), said
    made = agreement.score(
        answer_set({"near/x/0": answer("Serie D")}, fact, base={"near/x/0": answer("Serie D")})
    )
    assert value(made, "leak") == 0


def test_carried_edits_are_retention_not_reliability() -> None:
    """New and old edits are never averaged."""
    answers = {"edit/x/0": answer("New Club"), "edit/y/0": answer("no", new=-3.0)}
    told = answer_set(answers, case("x"), case("y", new=False))
    assert value(generation.score(told), "reliability") == 1
    assert value(retention.score(told), "retention") == 0
    scores = preference.score(told)
    assert (value(scores, "ES"), value(scores, "retention_ES")) == (1, 0)


def test_likelihood_is_a_token() -> None:
    """A long target is not worse for being long, and has to beat every rival."""
    long = answer("", logprobs=(-3.0, -2.0), num_tokens=(3, 1))
    assert preference.prefers_first(long)
    assert not preference.prefers_first(
        answer("", logprobs=(-1.0, -2.0, -0.5), num_tokens=(1,) * 3)
    )
    assert not preference.prefers_first(answer("", -1.0, -1.0))


def test_the_preference_scores_and_their_harmonic_mean() -> None:
    """S = 3 / (1/ES + 1/PS + 1/NS), and 0 where one of them is."""
    fact = case(near=(near(), near("m plays for")))
    answers = {
        "edit/x/0": answer(""),
        "edit/x/1": answer(""),
        "edit/x/2": answer("", new=-5.0),
        "near/x/0": answer(""),
        "near/x/1": answer("", new=-5.0),
    }
    made = preference.score(answer_set(answers, fact))
    assert [value(made, name) for name in ("ES", "PS", "NS")] == [1, 0.5, 0.5]
    assert value(made, "S") == pytest.approx(3 / (1 + 2 + 2))
    answers["edit/x/0"] = answer("", new=-5.0)
    assert value(preference.score(answer_set(answers, fact)), "S") == 0


def test_teacher_forcing_counts_tokens() -> None:
    """Two of three tokens are a TFA of 2/3 and no TFA_all."""
    answers = {"edit/x/0": answer("", num_tokens=(3, 1), num_argmax=(2, 0))}
    made = teacher_forced.score(answer_set(answers))
    assert (value(made, "TFA"), value(made, "TFA_all")) == (pytest.approx(2 / 3), 0)


def test_locality_compares_with_the_base_token_by_token() -> None:
    """A neighbour that begins with an edited object is a leak; another continuation is
    disagreement, beyond the length compared it is not."""
    fact = case(near=(near(),), same_subject=(Query(prompt="x was born in", accepted=()),))
    base = {"near/x/0": answer("Own Club"), "same/x": answer("Berlin in 1970")}
    base["neutral/0"] = answer("the same words as before it")
    after = {
        "near/x/0": answer("New Club"),
        "same/x": answer("Berlin in 1980"),
        "neutral/0": answer("the same words as now it is"),
    }
    made = agreement.score(answer_set(after, fact, base=base))
    assert (value(made, "leak"), value(made, "near_agreement")) == (1, 0)
    assert value(made, "subject_agreement") == 1  # the first six tokens are the same
    assert value(made, "neutral_agreement") == 1  # sixteen are


def test_what_follows_is_counted_by_kind() -> None:
    """A reversed relation and a one-hop consequence are two numbers."""
    fact = case(
        portability={
            "one_hop": (Query(prompt="The city of x's club is", accepted=("Rome",)),),
            "reversed": (Query(prompt="New Club has the player", accepted=("x",)),),
        }
    )
    answers = {"port/x/one_hop/0": answer("Rome, Italy"), "port/x/reversed/0": answer("y")}
    made = single_hop.score(answer_set(answers, fact))
    assert value(made, "portability_one_hop") == 1
    assert value(made, "portability_reversed") == 0


def test_perplexity_drift_and_sentences() -> None:
    """Windows weigh alike; a sentence of perplexity e^5 outweighs one of e."""
    texts = {
        "window/0": TextScore(id="", nll=10.0, kl=1.0, energy=0.1, num_tokens=10),
        "window/1": TextScore(id="", nll=30.0, kl=3.0, energy=0.3, num_tokens=10),
        "sentence/0": TextScore(id="", nll=1.0, kl=None, energy=None, num_tokens=1),
        "sentence/1": TextScore(id="", nll=5.0, kl=None, energy=None, num_tokens=1),
    }
    told = answer_set({}, texts=texts)
    made = perplexity.score(told)
    assert value(made, "perplexity") == pytest.approx(math.exp(2))
    assert value(made, "kl") == pytest.approx(0.2)
    assert value(made, "ME-PPL") == pytest.approx((math.exp(5) + math.exp(1)) / 2)


def test_retention_by_age_and_half_life() -> None:
    """Ages count the facts edited later; a planted half-life is found again."""
    cases = [case(str(i), order=i) for i in range(400)]
    ages = retention.ages_of(answer_set({}, *cases).cases)
    assert (ages["399"], ages["0"]) == (0, 399)
    right = {str(i): (i * 7919 % 1000) / 1000 < 2 ** (-ages[str(i)] / 100) for i in range(400)}
    answers = {f"edit/{i}/0": answer("New Club" if hit else "no") for i, hit in right.items()}
    made = retention.score(answer_set(answers, *cases))
    assert value(made, "half_life") == pytest.approx(100, rel=0.25)
    assert value(made, "retention@0-79") > value(made, "retention@320-399")
    never = {f"edit/{i}/0": answer("New Club") for i in range(400)}
    assert value(retention.score(answer_set(never, *cases)), "half_life") == math.inf


def test_an_age_is_never_parted() -> None:
    """Two batches are two bins, whatever their sizes; many ages are five bins that do not
    overlap."""
    two = [(0, str(i)) for i in range(35)] + [(35, str(i)) for i in range(35, 69)]
    assert [len(part) for part in retention.bins(two)] == [35, 34]
    many = retention.bins([(i // 3, str(i)) for i in range(100)])
    assert len(many) == 5
    assert all(one[-1][0] < two[0][0] for one, two in pairwise(many))


def test_families_share_questions() -> None:
    """Each id is asked once with all that is wanted of it, and one id is one prompt."""
    a = Question(id="edit/x/0", prompt="p", candidates=("a", "b"))
    b = Question(id="edit/x/0", prompt="p", candidates=("a",), greedy=True, until=("a",))
    c = Question(id="edit/x/0", prompt="p", greedy=True, until=("b",), min_new_tokens=6)
    [both] = merged([a, b, c])
    assert (both.candidates, both.until, both.min_new_tokens) == (("a", "b"), ("a", "b"), 6)
    [open_end] = merged([b, Question(id="edit/x/0", prompt="p", greedy=True)])
    assert open_end.until is None
    with pytest.raises(ValueError, match="both"):
        merged([a, Question(id="edit/x/0", prompt="other")])
    with pytest.raises(ValueError, match="scored"):
        merged([a, Question(id="edit/x/0", prompt="p", candidates=("c",))])


@pytest.mark.parametrize("name", METRICS)
def test_every_family_scores_the_base_against_itself(name: str) -> None:
    """What a family asks, it can score; agreement of a model with itself is whole."""
    fact = case(
        near=(replace(near(), question="Who has n?"),),
        same_subject=(Query(prompt="x was born in", accepted=()),),
        portability={"one_hop": (Query(prompt="It is", accepted=("y",)),)},
        questions=("Who has x?", "Whose is x?"),
    )
    told = answer_set({}, fact, case("y", new=False))
    asked = merged(METRICS[name].questions(told.cases, EvaluateConfig(num_neutral=2)))
    answers = {
        q.id: answer("a", logprobs=(-1.0,) * len(q.candidates), num_tokens=(1,) * len(q.candidates))
        for q in asked
    }
    made = METRICS[name].score(answer_set(answers, fact, case("y", new=False)))
    for key, found in made.items():
        if "agreement" in key:
            assert isinstance(found, Measured) and found.items and found.metric().value == 1
