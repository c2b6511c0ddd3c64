"""Files that cannot be read, and records that are not of their dataset: one line that says what."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from infra.errors import ConfigError
from pipeline.datasets import DATASETS, load_cases

DATA = Path(__file__).parent / "data"
EDIT = {"subject": "Ann", "prompt": "Ann lives in", "target": "Olmstad"}


def message(name: str, path: Path, **more: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_cases(name, path, **more)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_an_unknown_dataset_names_the_nearest(tmp_path: Path) -> None:
    """And all there are."""
    text = message("conterfact", tmp_path / "x.json")
    assert "did you mean 'counterfact'?" in text
    assert all(name in text for name in DATASETS)


def test_a_file_that_is_missing_or_of_another_kind(tmp_path: Path) -> None:
    """Named, with what is wrong."""
    assert "No such file" in message("zsre", tmp_path / "none.json")
    assert ".json or .jsonl" in message("zsre", written(tmp_path / "x.csv", "a,b"))
    assert "not UTF-8" in message("zsre", _bytes(tmp_path / "x.json", b"\xff\xfe"))
    assert "gzip" in message("zsre", _bytes(tmp_path / "y.json.gz", b"[]"))
    half = gzip.compress(b"[1, 2, 3]" * 100)[:-9]
    assert "gzip" in message("zsre", _bytes(tmp_path / "z.json.gz", half))


def test_text_that_is_not_json(tmp_path: Path) -> None:
    """The line, or the place in the file."""
    lines = written(tmp_path / "x.jsonl", f"{json.dumps(EDIT)}\n\n{{'a': 1}}\n")
    assert f"{lines}, line 3 is not JSON" in message("jsonl", lines)
    whole = written(tmp_path / "x.json", "[1, ]")
    assert "character" in message("jsonl", whole)
    assert "Give a list" in message("jsonl", written(tmp_path / "y.json", '{"a": 1}'))


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "bear"])
def test_a_record_of_nothing_breaks_every_schema(name: str, tmp_path: Path) -> None:
    """Whatever the dataset, an empty object and a number are refused by their place."""
    for raw in ("[{}]", "[7]"):
        assert "record 1" in message(name, written(tmp_path / "x.json", raw))


def test_a_broken_record_says_which_record_which_field_and_what_was_expected(
    tmp_path: Path,
) -> None:
    """Nested fields by their path."""
    records = json.loads((DATA / "counterfact_rome.json").read_text())
    records[1]["requested_rewrite"]["target_new"]["str"] = 5
    path = written(tmp_path / "x.json", json.dumps(records))
    text = message("counterfact", path)
    assert "record 2" in text
    assert "'requested_rewrite.target_new.str' = 5" in text
    assert "valid string" in text
    del records[1]
    del records[0]["requested_rewrite"]["subject"]
    text = message("counterfact", written(path, json.dumps(records)))
    assert "'requested_rewrite.subject' is missing" in text


def test_a_field_that_is_not_known_names_the_nearest(tmp_path: Path) -> None:
    """A slip of the pen in one's own file is not passed over."""
    path = written(tmp_path / "x.json", json.dumps([{**EDIT, "paraphrase": ["Ann is in"]}]))
    assert "did you mean 'paraphrases'?" in message("jsonl", path)
    path = written(tmp_path / "y.json", json.dumps([{"record": "multihop"}]))
    assert "did you mean 'multi_hop'?" in message("jsonl", path)


def test_fewer_facts_than_asked_for(tmp_path: Path) -> None:
    """An error that says how many there are and what was left out; so is a set without any."""
    records = [EDIT, {**EDIT, "prompt": "She lives in"}]
    path = written(tmp_path / "x.json", json.dumps(records))
    text = message("jsonl", path, num=2)
    assert "has 1 facts" in text
    assert "its subject is not in the prompt: 1" in text
    assert "has 0 facts" in message("jsonl", written(path, json.dumps(records[1:])))
    assert "at least 1" in message("jsonl", path, num=0)


def test_bear_without_its_relations(tmp_path: Path) -> None:
    """Says which file is sought; a relation that is not in it is an error as well."""
    path = written(tmp_path / "bear.jsonl", (DATA / "bear.jsonl").read_text())
    assert "bear_relations.json" in message("bear", path)
    other = written(tmp_path / "other.json", "{}")
    assert "'P1' is not in" in message("bear", path, relations=other)
    listed = written(tmp_path / "listed.json", "[]")
    assert "Give a JSON object" in message("bear", path, relations=listed)


def test_gzip_and_lines_give_the_same_set(tmp_path: Path) -> None:
    """Four spellings of one file; a line separator inside a string does not end the line."""
    records = [EDIT, {**EDIT, "subject": "Bo", "prompt": "Bo\u2028Reed lives in"}]
    whole = json.dumps(records, ensure_ascii=False)
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    sets = []
    for name, text in (("a.json", whole), ("b.jsonl", lines)):
        sets.append(load_cases("jsonl", written(tmp_path / name, text)))
        packed = _bytes(tmp_path / f"{name}.gz", gzip.compress(text.encode()))
        sets.append(load_cases("jsonl", packed))
    assert len(sets[0].cases) == 2
    assert len({cases.digest for cases in sets}) == 1


def _bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
