"""A subject is found in its prompt, in any script and however it is encoded."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets import load_cases
from pipeline.datasets.subject_spans import ABSENT, Names, find_subject, template_of

# ruff: noqa: RUF001 - letters that look alike are the subject of these tests


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


FOUND = [
    ("法国的首都是", "法国", 0),
    ("日本の首都は", "日本", 0),
    ("首都として日本には", "日本", 5),
    ("首都は東京都と京都", "京都", 7),
    ("アンナとアンの家は", "アン", 4),
    ("iPhoneのメーカーは", "iPhone", 0),
    ("手机iPhone的制造商是", "iPhone", 2),
    ("ประเทศไทยมีเมืองหลวงคือ", "ไทย", 6),
    ("ປະເທດລາວມີ", "ລາວ", 5),
    ("ប្រទេសកម្ពុជាមាន", "កម្ពុជា", 6),
    ("မြန်မာနိုင်ငံ၏", "မြန်မာ", 0),
    ("한국의 수도는", "한국", 0),
    ("서울에서는 누가", "서울", 0),
    (nfd("한국의 수도는"), "한국", 0),
    ("BTS는 어디", "BTS", 0),
    (nfd("José lives in"), "José", 0),
    ("José lives in", nfd("José"), 0),
    ("The home of McDonald\u2019s is", "McDonald's", 12),
    ("The home of McDonald's is", "McDonald\u2019s", 12),
    ("Ann\u02bcs home is", "Ann", 0),
    ("Ann\u2019s home is", "Ann", 0),
    ("James\u2019 home is", "James", 0),
    ("The capital of france is", "France", 15),
    ("Paris, paris, PARIS", "PARIS", 14),
    ("New\u00a0York lies in", "New York", 0),
    ("Saint\u2011Denis lies in", "Saint-Denis", 0),
    ("ＡＢＣ lies in", "ABC", 0),
    ("Anne and Ann live in", "Ann", 9),
    ("हिन्दी की लिपि", "हिन्दी", 0),
]


@pytest.mark.parametrize(("prompt", "subject", "start"), FOUND)
def test_the_place_is_that_of_the_prompts_own_text(prompt: str, subject: str, start: int) -> None:
    """The subject that is returned stands in the prompt at the index that is returned."""
    place = find_subject(prompt, subject)
    assert place.start == start
    assert prompt.startswith(place.subject, start)
    forms = [unicodedata.normalize("NFKC", text).casefold() for text in (place.subject, subject)]
    assert len(forms[0]) == len(forms[1])
    assert template_of(prompt, subject).count("{}") == 1


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("Anne lives in", "Ann"),
        (nfd("José lives in"), "Jose"),
        ("한국은행의 주소는", "한국"),
        ("मुंबई की", "मुंब"),
        ("He lives in", "Ann"),
        ("Ann lives in", ""),
        ("กีฬา", "ก"),
    ],
)
def test_a_part_of_a_word_is_not_found(prompt: str, subject: str) -> None:
    """Neither letters of a longer word, nor a letter without its marks."""
    assert find_subject(prompt, subject) == (ABSENT, subject)
    assert template_of(prompt, subject) == prompt


WORDS = st.sampled_from(["Ann", "ann", "Bo", "José", "C++", "法国", "ไทย", "서울", "O'Neill"])


@given(st.lists(WORDS, max_size=4), WORDS, st.lists(WORDS, max_size=4))
def test_a_word_between_spaces_is_found(before: list[str], subject: str, after: list[str]) -> None:
    """Composed or not, the place of a subject is that of its first occurrence with its own case."""
    prompt = " ".join([*before, subject, *after])
    expected = len(" ".join(before[: [*before, subject].index(subject)]))
    assert find_subject(prompt, subject).start == expected + (expected > 0)
    place = find_subject(nfd(prompt), subject)
    assert nfd(prompt)[place.start :].startswith(place.subject)
    assert unicodedata.normalize("NFC", place.subject) == subject


def test_neighbours_of_edited_subjects_are_known_in_any_script() -> None:
    """A name is found in texts without spaces, before a particle, and in another encoding."""
    names = Names(["法国", "서울", "Ann Lee", "José"])
    for text in ("位于法国的城市", "서울은 어디", "The home of Ann Lee is", nfd("José is")):
        assert names.are_in(text), text
    for text in ("德国的首都是", "서울역 앞", "The home of Ann Leeds is", "Jose is"):
        assert not names.are_in(text), text


def records(prompt: str, subject: str) -> dict[str, dict[str, Any]]:
    """One record for each dataset whose records name the subject beside a prompt that has it."""
    local = {"locality_prompt": "He lives in", "locality_ground_truth": "Foxton"}
    return {
        "counterfact": {
            **{"case_id": 1, "prompt": prompt, "subject": subject, "target_new": "Olmstad"},
            **{"ground_truth": "Quillby", "rephrase_prompt": "Where?", **local},
        },
        "zsre": {
            **{"subject": subject, "src": prompt, "pred": "", "rephrase": "Where?"},
            **{"alt": "Olmstad", "answers": ["Quillby"], "cond": ""},
            **{"loc": "nq question: who", "loc_ans": "Bo"},
        },
        "knowedit": {"subject": subject, "prompt": prompt, "target_new": "Olmstad"},
        "wikibigedit": {"subject": subject, "update": prompt, "ans": "Olmstad"},
        "jsonl": {"subject": subject, "prompt": prompt, "target": "Olmstad"},
    }


@pytest.mark.parametrize("name", list(records("", "")))
@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("法国的首都是", "法国"),
        (nfd("José lives in"), "José"),
        ("The home of O\u2019Neill is", "O'Neill"),
        ("the home of ann is", "Ann"),
        ("한국의 수도는", "한국"),
    ],
)
def test_every_loader_finds_it(name: str, prompt: str, subject: str, tmp_path: Path) -> None:
    """One record makes one case, whose edit request has the prompt's own text as its subject."""
    file = tmp_path / "set.json"
    file.write_text(json.dumps([records(prompt, subject)[name]]), encoding="utf-8")
    (case,) = load_cases(name, file).cases
    place = find_subject(prompt, subject)
    assert case.request().subject == case.subject == place.subject
    assert case.subject_start == place.start >= 0
