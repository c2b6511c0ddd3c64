"""What a stage did, told in a sentence: its numbers are there, and read as English."""

from __future__ import annotations

import re
from typing import Any

import pytest

from jobs.terminal.sentences import SENTENCES, sentence
from jobs.terminal.words import DOING, duration, many, phase, refused, size, waits
from pipeline.stages import STAGES

LATER: dict[str, dict[str, Any]] = {
    "crawl": {
        "observations": 54,
        "bytes": 1_417_698,
        "skipped": {"no such entity": 1, "no revision at that date": 35},
        "sources": {"people": 1, "wikidata": 53},
    },
    "snapshot": {"facts": 2908, "entities": 2746, "skipped": {"malformed": 88}},
    "diff": {
        "changes": 2019,
        "unchanged": 54,
        "kinds": {"learn": 341, "replace": 535, "forget": 9, "vacated": 2, "keep": 168}
        | {"conflict": 3, "ignored": 962},
        "rules": {"9": 563, "22": 240, "11": 535},
    },
    "probe": {
        "probed": 84,
        "verdicts": {"stale": 41, "unknown": 40, "knows": 2, "inconsistent": 1},
        "states": {"eligible": 934, "held": 137, "cooling": 6, "rejected": 4},
    },
    "plan": {
        "actions": {"correct": 41, "teach": 21, "carry": 8},
        "removed": 54,
        "refused": 974,
        "refusals": {"ignored: ended before the earlier snapshot": 563, "forget: removed": 411},
        "held": {"eligible: edit budget": 22, "held: quorum": 137, "cooling: quorum": 1},
        "sheet": 896,
    },
    "edit": {"edits": 72, "status": {"edited": 70, "quarantined": 2}, "codebook": 7},
    "evaluate": {
        "reliability": 0.79,
        "generality": 0.39,
        "retention": 0.8,
        "near_agreement": 0.51,
        "perplexity": 34.0853,
    },
    "gate": {
        "passed": True,
        "culprits": {},
        "failed": [],
        "warnings": ["kl is 0.0200, allowed", "capacity: kl is 0.02", "leak is 0.1, allowed"],
        "checks": {"pass": 21, "warn": 2},
    },
    "release": {"release_id": "f4680346c25fc1f7", "edits": 70, "codebook": 7, "fact_sheet": 896},
}
"""Counts of a second edition, by stage."""
NUMBERS = {
    "crawl": ["54", "1.4 MB", "53", "1", "36", "35"],
    "snapshot": ["2,908", "2,746", "88"],
    "diff": ["341", "535", "11", "3", "222", "962", "563"],
    "probe": ["84", "41", "40", "2", "1", "137", "6", "4"],
    "plan": ["70", "41", "21", "8", "54", "160", "138", "974", "563", "896"],
    "edit": ["70", "7", "2"],
    "evaluate": ["79%", "39%", "80%", "51%", "34.1"],
    "gate": ["21", "23", "2"],
    "release": ["70", "f4680346c25f", "7", "896"],
}


def numbers(text: str) -> list[str]:
    return re.findall(r"f?\d[\d,.a-f]*(?: MB|%)?", text)


def test_every_stage_has_a_sentence_and_words_for_what_it_does() -> None:
    """Of no other stage, and of all of them."""
    assert tuple(SENTENCES) == STAGES == tuple(DOING)


@pytest.mark.parametrize("stage", STAGES)
def test_a_sentence_holds_the_numbers(stage: str) -> None:
    """All that are wanted, in this order, and no others."""
    text = sentence(stage, LATER[stage])
    assert [n.rstrip(",.") for n in numbers(text)] == NUMBERS[stage], text
    assert "\n" not in text and not re.search(r"[{}_]|None", text)


@pytest.mark.parametrize("stage", STAGES)
def test_missing_counts_are_left_out(stage: str) -> None:
    """Counts of an older record, or of a smaller job: a sentence all the same, whatever lacks."""
    assert sentence(stage, {})
    for left_out in LATER[stage]:
        rest = {key: value for key, value in LATER[stage].items() if key != left_out}
        assert sentence(stage, rest)


@pytest.mark.parametrize("stage", STAGES)
def test_what_was_found_is_told_as_such(stage: str) -> None:
    """It is not claimed that the work was done now."""
    made, found = (sentence(stage, LATER[stage], found=found) for found in (False, True))
    assert found == f"already done: {made}"


def test_the_main_reason_stands_with_what_was_set_aside() -> None:
    """In words; the same reason under two keys counts once; its own number unless it is all."""
    planned = sentence("plan", LATER["plan"])
    assert "160 wait (138: too few sources say so)" in planned
    assert "974 not edited (563: ended before the earlier snapshot)" in planned
    assert "2 left out (late)" in sentence("crawl", {"skipped": {"late": 2}})


def test_one_is_singular() -> None:
    """Nouns and verbs agree with their number."""
    kinds = {"learn": 1, "replace": 1, "ignored": 1}
    assert sentence("diff", {"kinds": kinds}) == "1 fact is new and 1 has changed; 1 set aside"
    assert sentence("diff", {"kinds": {"replace": 2}}) == "2 facts have changed"
    assert sentence("diff", {"kinds": {}}) == "nothing is new or changed"
    assert "1 changed fact:" in sentence("probe", {"probed": 1, "verdicts": {"stale": 1}})
    assert "; 1 waits for" in sentence("probe", {"states": {"held": 1}})
    assert sentence("edit", {"status": {"edited": 1}}) == "wrote 1 fact into the model"
    assert "planned 1 edit: 1 to teach; 1 waits" in sentence(
        "plan", {"actions": {"teach": 1}, "held": {"held: quorum": 1}}
    )


def test_lanes_are_told_where_there_are_several() -> None:
    """Of one lane, nothing: it is where it always was."""
    full = {"actions": {"teach": 6}, "lanes": {"sheet": 1, "weights": 4, "beside": 2}}
    told = "the weights are full: 4 in the weights, 2 beside the weights and 1 on the fact sheet"
    assert told in sentence("plan", full)
    assert "full" not in sentence("plan", {**full, "lanes": {"weights": 7}})
    counts = {"status": {"edited": 6}, "lanes": {"weights": 4, "beside": 2}, "scoped": 2}
    assert sentence("edit", counts) == (
        "wrote 6 facts into the model: 4 into its weights, 2 beside them"
    )
    failed = {"passed": False, "failed": ["kl is 1, allowed"], "moved": 2}
    assert sentence("gate", failed) == ("failed 1 check (kl); the weights have no room for 2 facts")
    assert "room" not in sentence("gate", {**failed, "passed": True})


def test_a_failed_gate_names_the_checks_and_the_edits_set_aside() -> None:
    """Each check once."""
    counts = {
        "passed": False,
        "failed": ["reliability is 0.1, allowed at least 0.7 (off by 0.6): x", "kl is 1, allowed"],
        "culprits": {"e1": "why", "e2": "why"},
        "warnings": [],
    }
    assert sentence("gate", counts) == (
        "failed 2 checks (reliability, kl); set aside 2 edits found to do harm"
    )


def test_codes_have_words() -> None:
    """Rules and phases in words; those without any as they are."""
    assert waits("held: cool-down").startswith("too new") and waits("held: own rule") == "own rule"
    assert waits("held: bulk user:Eve") == "one of very many changes at once (user:Eve)"
    assert refused("ignored: added without a date") == "added without a date"
    assert refused("conflict: 'A' has several objects") == "'A' has several objects"
    assert refused("unknown relation P9: no templates") == "unknown relation P9: no templates"
    assert phase("search for culprits, at most 9 probes").startswith("looking for")
    assert phase("something else, 3 s left") == "something else"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (size(0), "0 bytes"),
        (size(999), "999 bytes"),
        (size(1400), "1.4 kB"),
        (size(470_237), "470 kB"),
        (size(3_000_000_000_000_000), "3000 TB"),
        (duration(0.44), "0.4 s"),
        (duration(59.7), "1 min 0 s"),
        (duration(125), "2 min 5 s"),
        (duration(12_000), "3 h 20 min"),
        (many(1, "entry", "entries"), "1 entry"),
        (many(1013, "entry", "entries"), "1,013 entries"),
    ],
)
def test_numbers_read_as_a_person_writes_them(written: str, expected: str) -> None:
    """Sizes, times and counts."""
    assert written == expected


def test_a_damaged_source_is_named() -> None:
    """With what follows from it, in the sentence of the stage that finds it."""
    text = sentence("snapshot", {**LATER["snapshot"], "damaged": ["dump", "people"]})
    assert "dump and people are damaged, so nothing that is missing there counts as gone" in text
