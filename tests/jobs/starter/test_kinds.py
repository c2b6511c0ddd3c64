"""Every kind of source has its questions, and what `init` writes of them is right throughout."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from discovery.relations.relation import load_relations
from discovery.sources import BULK_SOURCES, SOURCES
from jobs.starter.config_file import Starter, config_text
from jobs.starter.kinds import KINDS
from pipeline.config import load_config

VALUES = {
    "table": {"path": "a.csv", "subject": "who"},
    "sql": {"connect": "duckdb:", "query": "SELECT 'a\\b \"c\"' AS x", "key": "id"},
    "feed": {"feeds": ["https://example.org/f"], "relations": ["P108"], "contact": "a@b.org"},
    "dump": {"path": "a.json.gz", "relations": ["P108"]},
    "rdf": {"path": "a.nt", "wikibase": False, "prefixes": {"http://a.org/": "a:"}},
    "wikidata": {"entities": ["Q42"], "contact": "a@b.org"},
}


def test_every_kind_has_its_questions() -> None:
    """One that is registered without them could not be begun with."""
    assert KINDS.keys() == SOURCES.keys() | BULK_SOURCES.keys() == VALUES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_has_a_comment_and_can_be_switched_on(kind: str, tmp_path: Path) -> None:
    """Each setting stands behind a comment. With every `#` before a setting taken away, the config
    is still valid, so no example in it is out of date."""
    starter = Starter(line="mine", model="m", kind=kind, name="own", values=VALUES[kind])
    text = config_text(starter, "corrigenda.toml")
    assert max(map(len, text.splitlines())) <= 102
    lines = text.splitlines()
    for before, line in pairwise(lines):
        if re.match(r"\w[\w.]* = ", line):
            assert before.startswith("# "), line
    path = tmp_path / "corrigenda.toml"
    path.write_text(text)
    mine = load_relations()["P54"].model_dump(mode="json", exclude={"id"})
    (tmp_path / "relations.json").write_text(json.dumps({"relations": {"X1": mine}}))
    config = load_config(path)
    assert config.sources[0].kind == kind
    path.write_text(re.sub(r"^# (?=\[|[\w.]+ = )", "", text, flags=re.M))
    everything = load_config(path)
    assert everything.editions and everything.trust.sources["own"].base_trust == 1
