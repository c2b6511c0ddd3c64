"""Every dataset, from a few records of it, against what stands in them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipeline.datasets import DATASETS, load_cases
from pipeline.evaluate.cases import CaseSet, Criterion, Query

DATA = Path(__file__).parent / "data"
SAMPLES = {
    "counterfact_rome.json": "counterfact",
    "counterfact_reassembled.jsonl": "counterfact",
    "counterfact_easyedit.jsonl": "counterfact",
    "zsre.json": "zsre",
    "knowedit_zsre.json": "knowedit",
    "knowedit_recent.json": "knowedit",
    "knowedit_counterfact_train.json": "knowedit",
    "knowedit_counterfact_test.json": "knowedit",
    "mquake.json": "mquake",
    "ripple.json": "ripple",
    "wikibigedit.json": "wikibigedit",
    "temporal.jsonl": "temporal",
    "temporal_groups.json": "temporal",
    "bear.jsonl": "bear",
}
FULL = {
    "counterfact/counterfact_rome_500.json": "counterfact",
    "counterfact/counterfact_reassembled.jsonl": "counterfact",
    "counterfact/counterfact_easyedit_21919.jsonl.gz": "counterfact",
    "zsre/zsre_mend_train_1k.json": "zsre",
    "knowedit/ZsRE-test-all.json": "knowedit",
    "knowedit/wiki_recent_train.json": "knowedit",
    "knowedit/wiki_counterfact_train.json": "knowedit",
    "knowedit/wiki_counterfact_test.json": "knowedit",
    "mquake/AKEW-MQuAKE-CF-354.json": "mquake",
    "wikibigedit/wikibigedit_1500.json": "wikibigedit",
    "temporal/templama_real_updates.jsonl": "temporal",
    "temporal/ike_time_editing.json": "temporal",
    "probes/bear.jsonl.gz": "bear",
}
"""Files of a directory that CORRIGENDA_DATASETS names."""
RELATIONS = "relation_templates/bear_relations.json"


def sound(cases: CaseSet) -> None:
    """What every set has to be, whatever it was read from, checked one by one."""
    prompts = {case.prompt for case in cases.cases}
    assert len({case.id for case in cases.cases}) == len(cases.cases)
    for case in cases.cases:
        assert case.request().subject == case.subject
        assert "/" not in case.id
        assert case.relation
        assert case.target == case.accepted[0]
        assert case.target not in case.old
        assert not {*case.paraphrases} & prompts
        assert all(query.rivals and case.target not in query.accepted for query in case.near)
        asked = (
            *case.near,
            *case.same_subject,
            *(q for qs in case.portability.values() for q in qs),
        )
        for text in (*case.paraphrases, *case.essays, *(query.prompt for query in asked)):
            assert text == text.strip()
            assert text
        for test in case.criteria:
            assert test.queries
            assert all(things and all(things) for _, things in (*test.queries, *test.conditions))
    for hop in cases.multi_hop:
        assert hop.questions
        assert all(id in cases.by_id for id in hop.case_ids)


@pytest.mark.parametrize("file", SAMPLES)
def test_every_sample_is_a_sound_set(file: str) -> None:
    """Whose digest does not depend on the run, and whose first fact is a set too."""
    cases = load_cases(SAMPLES[file], DATA / file)
    sound(cases)
    assert cases.digest == load_cases(SAMPLES[file], DATA / file).digest
    one = load_cases(SAMPLES[file], DATA / file, num=1)
    assert [case.id for case in one.cases] == [cases.cases[0].id]


def test_every_dataset_has_a_sample() -> None:
    """One's own files have tests of their own."""
    assert {*SAMPLES.values(), "jsonl"} == {*DATASETS}


@pytest.mark.parametrize("file", FULL)
def test_full_files_load(file: str) -> None:
    """Those of the directory in CORRIGENDA_DATASETS."""
    folder = os.environ.get("CORRIGENDA_DATASETS")
    if not folder:
        pytest.skip("CORRIGENDA_DATASETS names no directory of full files")
    relations = Path(folder) / RELATIONS if FULL[file] == "bear" else None
    cases = load_cases(FULL[file], Path(folder) / file, relations=relations)
    sound(cases)
    edited = [other.subject for other in cases.cases if len(other.subject.split()) > 1]
    for case in cases.cases[:200]:
        for query in case.near:
            assert not any(f" {name} " in f" {query.prompt} " for name in edited)


def test_counterfact_as_published() -> None:
    """Angola, field by field; of Istanbul's two twin cities the first stays, and nobody's
    neighbour is Istanbul."""
    cases = load_cases("counterfact", DATA / "counterfact_rome.json")
    angola = cases.by_id["20952"]
    assert (angola.relation, angola.prompt) == ("P30", "Angola is located in")
    assert (angola.target, angola.old) == ("Antarctica", ("Africa",))
    assert [len(p) > 0 for p in angola.paraphrases] == [True, True]
    assert angola.near[0] == Query(
        prompt="South Africa is a part of the continent of",
        accepted=("Africa",),
        rivals=("Antarctica",),
    )
    assert len(angola.near) == 10
    assert len(angola.essays) == 3
    assert angola.references[0] == "Australian Antarctic Territory is located in Antarctica."
    assert [case.subject for case in cases.cases].count("Istanbul") == 1
    assert cases.dropped["record: it contradicts an earlier edit"] == 1
    assert not any("Istanbul" in q.prompt for case in cases.cases for q in case.near)


def test_counterfact_of_easyedit_keeps_free_text_apart() -> None:
    """A rephrasing that is flagged is a prompt for free text, and only then."""
    cases = load_cases("counterfact", DATA / "counterfact_easyedit.jsonl")
    flagged = cases.by_id["0"]
    assert not flagged.paraphrases
    assert flagged.essays == ("Where Danielle Darrieux is from, people speak the language of",)
    assert flagged.relation == "The mother tongue of {} is"
    assert flagged.near[0].accepted == ("French",)
    plain = cases.by_id["3"]
    assert "paraphrase: it may be a prompt for free text" not in cases.dropped
    assert plain.paraphrases
    assert not plain.essays


def test_counterfact_of_easyedit_without_flags_has_no_paraphrases(tmp_path: Path) -> None:
    """Its own files do not say what `rephrase_prompt` is; most of them are no paraphrases."""
    text = (DATA / "counterfact_easyedit.jsonl").read_text()
    path = tmp_path / "x.jsonl"
    path.write_text(re.sub(r', "rephrase_is_generation_prompt": \w+', "", text))
    cases = load_cases("counterfact", path)
    assert all(case.essays and not case.paraphrases for case in cases.cases)
    assert cases.dropped == {"paraphrase: it may be a prompt for free text": 4}


def test_the_benchmarks_own_file_is_read() -> None:
    """The reduced form, from the records that the benchmarks run on."""
    path = Path(__file__).parents[3] / "benchmarks" / "data" / "counterfact.jsonl.gz"
    cases = load_cases("counterfact", path, num=50)
    sound(cases)
    assert len(cases.cases) == 50
    assert all(case.old and case.paraphrases for case in cases.cases)


def test_zsre_is_edited_to_alt() -> None:
    """Questions keep their mark; an empty target, and a true one, are left out."""
    cases = load_cases("zsre", DATA / "zsre.json")
    made = next(case for case in cases.cases if case.subject == "UniFirst")
    assert made.prompt == "What is the product made by UniFirst?"
    assert (made.target, made.old) == ("unmanned aircraft", ("uniform",))
    assert made.relation == "What is the product made by {}?"
    assert made.near[0].prompt == "john goodman's character in the big lebowski?"
    assert any(case.target == "Captain Universe" for case in cases.cases)
    assert cases.dropped == {
        "record: its target is the old answer": 1,
        "record: prompt, subject or target is empty": 1,
    }


def test_knowedit_zsre_tells_the_way_back_from_other_consequences() -> None:
    """The father's son is a reversed relation; what asks for the old answer is not to be kept."""
    cases = load_cases("knowedit", DATA / "knowedit_zsre.json")
    father = next(case for case in cases.cases if case.subject == "Wang Jipeng")
    assert father.portability == {
        "reversed": (Query(prompt="Who is the son of Wang Chonghua?", accepted=("Wang Jipeng",)),)
    }
    assert len(father.same_subject) == 2
    goat = next(case for case in cases.cases if case.subject == "Angora goat")
    assert not goat.same_subject
    assert cases.dropped["same_subject: it asks for the edit's old answer"] == 2


def test_knowedit_answers_in_all_three_forms() -> None:
    """Text, names, and things by their names; the target's aliases come from questions about the
    subject's; preservation asks for what was so and is not the target."""
    recent = load_cases("knowedit", DATA / "knowedit_recent.json")
    museum = next(case for case in recent.cases if case.subject == "Royal Ontario Museum")
    languages = next(
        query for query in museum.portability["one_hop"] if "official language" in query.prompt
    )
    assert {"English", "French"} <= {*languages.accepted}
    assert not museum.old
    assert recent.dropped["criterion: nothing but the edit's target was so before"] > 0

    train = load_cases("knowedit", DATA / "knowedit_counterfact_train.json")
    mayor = next(case for case in train.cases if case.subject == "Frederic Piesch")
    prompt = (
        "The name of the position held by Frederic Piesch, "
        "which is not Archbishop of León, Mexico, is"
    )
    query = (prompt, (("mayor of Vienna",),))
    assert mayor.criteria == (
        Criterion(kind="preservation", queries=(query,), conditions=(query,)),
    )
    assert train.dropped["record: its target is the old answer"] == 1

    test = load_cases("knowedit", DATA / "knowedit_counterfact_test.json")
    janice = next(case for case in test.cases if case.subject == "Janice Dickinson")
    assert janice.accepted == ("Antoine-Jean-Matthieu Séguier", "Antoine-Jean-Matthieu Seguier")
    assert janice.paraphrases
    assert list(janice.portability) == ["reversed", "subject_alias"]


def test_wikibigedit_in_both_forms(tmp_path: Path) -> None:
    """What was published has a second step and a second phrasing, or none of them."""
    short = load_cases("wikibigedit", DATA / "wikibigedit.json").cases[0]
    assert short.prompt.endswith("?")
    assert short.near[0].rivals == (short.target,)
    path = tmp_path / "x.json"
    path.write_text(
        '[{"tag": "a", "subject": "Ann", "update": "Who is Ann with?", "ans": "Bo",'
        ' "rephrase": "W", "personas": "P", "mhop": "M?", "mhop_ans": "Cy",'
        ' "loc": "L?", "loc_ans": "Di"},'
        ' {"subject": "Ed", "update": "Where is Ed?", "ans": "here", "mhop": NaN, "loc": null}]'
    )
    full, bare = load_cases("wikibigedit", path).cases
    assert full.paraphrases == ("W", "P")
    assert full.portability == {"one_hop": (Query(prompt="M?", accepted=("Cy",)),)}
    assert full.near == (Query(prompt="L?", accepted=("Di",), rivals=("Bo",)),)
    assert not (bare.paraphrases or bare.portability or bare.near)


def test_temporal_changes() -> None:
    """The subject is what the phrase leaves; an object that is not the end has no prompt."""
    cases = load_cases("temporal", DATA / "temporal.jsonl")
    assert [(c.subject, c.prompt, c.old[0], c.target) for c in cases.cases] == [
        ("Ann Frost", "Ann Frost plays for", "Norland Bears", "Westland Foxes"),
        ("Ben Hale", "Ben Hale holds the position of", "mayor of Olmstad", "Minister of Fish"),
    ]
    assert cases.dropped == {"record: its object is not the end of a known phrase": 1}


def test_temporal_groups_end_in_the_latest_answer() -> None:
    """By date, not by place; who stays where he is has not changed."""
    cases = load_cases("temporal", DATA / "temporal_groups.json")
    assert [(case.id, case.target, case.old) for case in cases.cases] == [
        ("Q41-P54", "Westland Foxes", ("Norland Bears", "Olmstad Owls"))
    ]
    assert cases.dropped == {"record: nothing changed": 1}


def test_bear_ranks_the_true_object_among_all() -> None:
    """Of templates that end in the object; the relations are found beside the file or given."""
    cases = load_cases("bear", DATA / "bear.jsonl")
    norland = cases.cases[0]
    assert (norland.prompt, norland.subject_start) == ("The capital of Norland is", 15)
    assert norland.paraphrases == ("Norland is governed from",)
    assert (norland.target, norland.rivals) == ("Olmstad", ("Foxton", "Quillby"))
    assert cases.dropped == {"record: no template of its relation ends in the object": 1}
    given = load_cases("bear", DATA / "bear.jsonl", relations=DATA / "bear_relations.json")
    assert given.digest == cases.digest
