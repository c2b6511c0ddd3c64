"""What holds of every set, whatever it comes from."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets.collector import Collector
from pipeline.datasets.subject_spans import ABSENT, Names, find_subject, template_of
from pipeline.evaluate.cases import Case, Criterion, MultiHop, Query


def case(subject: str = "Ann", place: str = "lives in", **fields: Any) -> Case:
    settings: dict[str, Any] = {
        "id": f"{subject} {place}",
        "relation": "P551",
        "subject": subject,
        "prompt": f"{subject} {place}",
        "subject_start": 0,
        "target": "Olmstad",
        "accepted": ("Olmstad",),
    }
    return Case(**{**settings, **fields})


def collected(*cases: Case) -> tuple[list[Case], dict[str, int]]:
    found = Collector()
    for one in cases:
        found.add(one)
    made = found.case_set("test", None)
    return list(made.cases), dict(made.dropped)


def test_what_cannot_be_edited_is_counted_by_its_reason() -> None:
    """Six faults, six reasons, one case left."""
    kept, dropped = collected(
        case(),
        case("Bo", prompt="He lives in"),
        case("Cy", target=" "),
        case("Di", old=("the Olmstad",)),
        case("Ed", target="\u200b"),
        case(),
        case(target="Foxton"),
        case("Fay", id="Ann lives in"),
    )
    assert [one.subject for one in kept] == ["Ann"]
    assert dropped == {
        "record: its subject is not in the prompt": 1,
        "record: prompt, subject or target is empty": 1,
        "record: its target is the old answer": 1,
        "record: its target has no visible character": 1,
        "record: it repeats an earlier edit": 1,
        "record: it contradicts an earlier edit": 1,
        "record: its id is an earlier record's": 1,
    }


def test_a_fact_is_edited_once_whatever_its_prompt() -> None:
    """Where a relation is known to have one object, two prompts of it are one fact."""
    found = Collector()
    assert found.add(case(), fact=("Ann", "P551"))
    assert not found.add(case(place="dwells in", target="Foxton"), fact=("Ann", "P551"))
    assert found.add(case(place="works in", target="Foxton"), fact=("Ann", "P937"))


def test_texts_are_tidy() -> None:
    """No white space at the ends, nothing twice, the target among what is accepted, no rival that
    is the target."""
    kept, _ = collected(
        case(
            prompt="Ann lives in ",
            target=" Olmstad",
            accepted=("Olm", " Olm "),
            rivals=("olmstad", "Foxton"),
            paraphrases=("Ann lives in", "Ann is in ", "Ann is in"),
        )
    )
    one = kept[0]
    assert one.request().prompt == "Ann lives in"
    assert one.accepted == ("Olmstad", "Olm")
    assert one.rivals == ("Foxton",)
    assert one.paraphrases == ("Ann is in",)


def test_a_question_that_is_asked_twice_accepts_either_answer() -> None:
    """A land with two languages is asked about in two records of KnowEdit."""
    asked = [Query(prompt="Ann speaks", accepted=(name,)) for name in ("Norse", "Fox")]
    kept, _ = collected(case(portability={"one_hop": tuple(asked), "reversed": ()}))
    assert kept[0].portability == {
        "one_hop": (Query(prompt="Ann speaks", accepted=("Norse", "Fox")),)
    }


def test_neighbours_of_edited_subjects_go() -> None:
    """By whole words, in any place of the prompt; a neighbour with the target for its object as
    well. Those that stay have to beat the edit's target."""
    near = [
        Query(prompt=prompt, accepted=(own,))
        for prompt, own in (
            ("Bo Reed lives in", "Foxton"),
            ("The home of Bo Reed, a smith, is", "Foxton"),
            ("Bo Reedy lives in", "Foxton"),
            ("Cy lives in", "Olmstad"),
        )
    ]
    kept, dropped = collected(case(near=tuple(near)), case("Bo Reed", target="Quillby"))
    assert kept[0].near == (
        Query(prompt="Bo Reedy lives in", accepted=("Foxton",), rivals=("Olmstad",)),
    )
    assert dropped == {
        "near: its subject is edited itself": 2,
        "near: its own object is the edit's target": 1,
    }


def test_no_question_asks_for_what_an_edit_changes() -> None:
    """An edit's own prompt is nobody's held-out question, and the old answer is not to be kept."""
    other = case("Bo", target="Foxton")
    asked = Query(prompt=other.prompt, accepted=("Lake Inn",))
    kept, dropped = collected(
        case(
            old=("Quillby",),
            paraphrases=(other.prompt,),
            same_subject=(asked, Query(prompt="The home of Ann is", accepted=("Quillby",))),
            portability={"one_hop": (asked,)},
            criteria=(Criterion(kind="preservation", queries=((other.prompt, (("x",),)),)),),
        ),
        other,
    )
    first = kept[0]
    assert not (first.paraphrases or first.same_subject or first.portability or first.criteria)
    assert sorted(reason.partition(":")[0] for reason in dropped) == [
        "criterion",
        "paraphrase",
        "portability",
        "same_subject",
        "same_subject",
    ]
    assert set(dropped.values()) == {1}


def test_the_first_facts_are_a_set_of_their_own() -> None:
    """Cut after one case, the others are not edited: their neighbours and questions come back or
    go with them."""
    found = Collector()
    found.add(case(near=(Query(prompt="Bo lives in", accepted=("Foxton",)),)))
    found.add(case("Bo", id="b"))
    found.multi_hop.append(
        MultiHop(id="m", case_ids=("b",), questions=("?",), accepted=("x",), hops=())
    )
    cut = found.case_set("test", 1)
    assert [one.subject for one in cut.cases] == ["Ann"]
    assert len(cut.cases[0].near) == 1
    assert not cut.multi_hop
    assert cut.dropped == {"multi_hop: not all of its edits are in the set": 1}


def test_what_was_left_out_is_no_part_of_the_digest() -> None:
    """A set is what is in it."""
    one, two = Collector(), Collector()
    one.add(case())
    two.add(case())
    two.drop("record: it was of no use")
    assert one.case_set("test", None).digest == two.case_set("test", None).digest


def test_a_subject_is_found_as_whole_words() -> None:
    """Not inside another word; signs at its ends are part of it."""
    assert find_subject("Anne and Ann live in", "Ann").start == 9
    assert find_subject("Anne lives in", "Ann").start == ABSENT
    assert find_subject("Is Ed Jr.'s home in", "Ed Jr.").start == 3
    assert find_subject("x lives in", "").start == ABSENT
    assert template_of("Where is C++'s home?", "C++") == "Where is {}'s home?"


WORDS = st.sampled_from(["Ann", "Bo", "the", "The", "In", "home", "Reed", "of"])
TEXTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)


@given(names=st.lists(TEXTS, max_size=4), text=TEXTS)
def test_names_are_found_as_by_looking_for_each(names: list[str], text: str) -> None:
    """As by a search for every name in the padded text, but for openers at its head."""
    padded = f" {text} "
    openers = {"The", "In", "Of"}
    slow = any(
        f" {name} " in (padded[padded.index(" ", 1) :] if name in openers else padded)
        for name in names
    )
    assert Names(names).are_in(text) == slow
