"""One's own edit sets, in our schema."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editors.request import EditRequest, Wording
from pipeline.datasets import load_cases
from pipeline.datasets.collector import Collector
from pipeline.datasets.jsonl import CaseLine, lines
from pipeline.evaluate.cases import CaseSet, Criterion, MultiHop, Query

DATA = Path(__file__).parent / "data"


def read_back(cases: CaseSet, path: Path) -> CaseSet:
    path.write_text("\n".join(lines(cases)), encoding="utf-8")
    return load_cases("jsonl", path)


def content(cases: CaseSet) -> tuple[object, ...]:
    return tuple(cases.cases), tuple(cases.gone), tuple(cases.multi_hop)


@pytest.mark.parametrize(
    "name, file",
    [
        ("counterfact", "counterfact_rome.json"),
        ("knowedit", "knowedit_counterfact_test.json"),
        ("mquake", "mquake.json"),
        ("ripple", "ripple.json"),
        ("bear", "bear.jsonl"),
    ],
)
def test_any_dataset_in_our_schema_is_the_same_set(name: str, file: str, tmp_path: Path) -> None:
    """Cases, criteria and questions over several edits, written and read again."""
    cases = load_cases(name, DATA / file)
    again = read_back(cases, tmp_path / "own.jsonl")
    assert content(again) == content(cases)
    assert not again.dropped


def test_three_fields_are_enough(tmp_path: Path) -> None:
    """The rest has defaults: the line's number, the prompt as its relation, no questions."""
    path = tmp_path / "own.jsonl"
    path.write_text('\n{"subject": "Ann", "prompt": "Where is Ann?", "target": "here"}\n')
    (one,) = load_cases("jsonl", path).cases
    assert (one.id, one.relation, one.subject_start) == ("2", "Where is {}?", 9)
    assert (one.accepted, one.order, one.new) == (("here",), 0, True)


def test_every_field_is_read(tmp_path: Path) -> None:
    """A line with all of them, and the two other kinds of lines."""
    asked = {"prompt": "Ann speaks", "accepted": ["Norse"]}
    edit = {
        "id": "a",
        "relation": "P551",
        "subject": "Ann",
        "prompt": "Ann, not Ann Roe, lives in",
        "subject_start": 0,
        "target": "Olmstad",
        "aliases": ["Olm"],
        "old": ["Foxton"],
        "rivals": ["Quillby"],
        "wordings": [
            "Ann makes her home in",
            {"text": "Unlike Ann Roe, Ann lives in", "subject_start": 16},
            "She lives in",
        ],
        "paraphrases": ["The home of Ann is", "Ann makes her home in"],
        "questions": ["Where does Ann live?", "Where is Ann's home?"],
        "question_start": 11,
        "subject_id": "Q7",
        "subject_aliases": ["Annie"],
        "near": [
            {"prompt": "Bo lives in", "accepted": ["Foxton"], "question": "Where does Bo live?"}
        ],
        "same_subject": [{"prompt": "Ann works as"}],
        "portability": {"one_hop": [asked]},
        "criteria": [{"kind": "preservation", "queries": [["Ann has", [["a cat", "cats"]]]]}],
        "essays": ["Ann is"],
        "references": ["Bo lives in Olmstad."],
        "order": 2,
        "new": False,
    }
    hop = {"record": "multi_hop", "id": "m", "case_ids": ["a"], "questions": ["Who?"]}
    rows = [
        edit,
        {**hop, "accepted": ["Cy"], "hops": [asked]},
        {"record": "gone", "prompt": "Di lives in", "accepted": ["Lake Inn"]},
    ]
    assert set(edit) == set(CaseLine.model_fields) - {"record"}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(rows))
    cases = load_cases("jsonl", path)
    (one,) = cases.cases
    norse = Query(prompt="Ann speaks", accepted=("Norse",))
    assert (one.id, one.relation, one.order, one.new) == ("a", "P551", 2, False)
    assert (one.accepted, one.old, one.rivals) == (("Olmstad", "Olm"), ("Foxton",), ("Quillby",))
    assert one.questions == ("Where does Ann live?", "Where is Ann's home?")
    first = Wording("Ann makes her home in", (0, 3))
    assert one.request() == EditRequest(
        id="a",
        prompt="Ann, not Ann Roe, lives in",
        subject_span=(0, 3),
        target="Olmstad",
        old_targets=("Foxton",),
        wordings=(first, Wording("Unlike Ann Roe, Ann lives in", (16, 19))),
        question=Wording("Where does Ann live?", (11, 14)),
        relation="P551",
        subject_id="Q7",
        aliases=("Annie",),
    )
    assert cases.dropped["wording: its subject is not in it"] == 1
    assert one.paraphrases == ("The home of Ann is",)  # the other one is the editor's
    held_out = cases.prompts_held_out()
    assert not held_out & {*one.seen} and {*one.paraphrases, *one.questions[1:]} <= held_out
    hidden = CaseSet("hidden", (replace(one, question_start=None),))
    for made in (cases, hidden):
        assert content(read_back(made, tmp_path / "own.jsonl")) == content(made)
    near = Query(prompt="Bo lives in", accepted=("Foxton",), rivals=("Olmstad",))
    assert one.near == (replace(near, question="Where does Bo live?"),)
    assert one.same_subject == (Query(prompt="Ann works as", accepted=()),)
    assert one.portability == {"one_hop": (norse,)}
    assert one.criteria == (
        Criterion(kind="preservation", queries=(("Ann has", (("a cat", "cats"),)),)),
    )
    assert (one.essays, one.references) == (("Ann is",), ("Bo lives in Olmstad.",))
    assert cases.multi_hop == (
        MultiHop(id="m", case_ids=("a",), questions=("Who?",), accepted=("Cy",), hops=(norse,)),
    )
    assert cases.gone == (Query(prompt="Di lives in", accepted=("Lake Inn",)),)


NAMES = st.text("ab Ä'-.\u2028", max_size=5)
TEXTS = st.lists(NAMES, max_size=3).map(tuple)
QUERIES = st.lists(
    st.fixed_dictionaries(
        {"prompt": NAMES, "accepted": TEXTS, "rivals": TEXTS}, optional={"question": NAMES}
    ),
    max_size=3,
)
THINGS = st.lists(st.lists(NAMES, max_size=2), max_size=2)
CRITERIA = st.lists(
    st.fixed_dictionaries(
        {
            "kind": NAMES,
            "queries": st.lists(st.tuples(NAMES, THINGS), max_size=2),
            "all_of": st.booleans(),
        }
    ),
    max_size=2,
)
EDITS = st.fixed_dictionaries(
    {"subject": NAMES, "prompt": NAMES, "target": NAMES},
    optional={
        "relation": NAMES,
        "aliases": TEXTS,
        "old": TEXTS,
        "rivals": TEXTS,
        "paraphrases": TEXTS,
        "questions": TEXTS,
        "near": QUERIES,
        "same_subject": QUERIES,
        "portability": st.dictionaries(NAMES, QUERIES, max_size=2),
        "criteria": CRITERIA,
        "essays": TEXTS,
        "references": TEXTS,
        "order": st.integers(0, 3),
        "new": st.booleans(),
    },
)


@given(rows=st.lists(EDITS, max_size=4))
def test_reading_what_was_written_changes_nothing(rows: list[dict[str, object]]) -> None:
    """Whatever the lines were: what a first reading made tidy, a second finds so."""
    first = Collector()
    for number, row in enumerate(rows, 1):
        start = CaseLine.model_validate({**row, "prompt": f"{row['prompt']} {row['subject']}"})
        first.add(start.case(number))
    cases = first.case_set("jsonl", None)
    second = Collector()
    for line in lines(cases):
        second.add(CaseLine.model_validate_json(line).case(0))
    again = second.case_set("jsonl", None)
    assert content(again) == content(cases)
    assert not again.dropped
