"""Fixtures that several packages' tests share: tiny checkpoints and a small world of dated
facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_model, make_tokenizer

PEOPLE = (
    *(("Tom Brady", "P54", "New England Patriots", "Tampa Bay Buccaneers"),),
    *(("Wayne Rooney", "P54", "Everton", "Derby County"), ("Neymar", "P54", "Santos", "Paris")),
    *(("Ada Lovelace", "P108", "Analytical Engine Company", "the Navy"),),
    *(("Grace Hopper", "P108", "the Navy", "Harvard"), ("Tim Cook", "P108", "Apple", "Apple")),
    *(("Jony Ive", "P108", "Apple", "LoveFrom"), ("Lionel Messi", "P54", "Barcelona", "Paris")),
)
"""Subject, relation, object in 2015, object in 2020."""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directory of a tiny random model of an architecture, as save_pretrained writes it."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            import torch

            path = tmp_path_factory.mktemp("models") / kind
            make_model(kind, torch.float32).save_pretrained(path)
            make_tokenizer().save_pretrained(path)
            made[kind] = path
        return made[kind]

    return make


@pytest.fixture()
def world(tmp_path: Path, checkpoint: Callable[[str], Path]) -> Callable[..., Path]:
    """Writes a config of two editions over a small table, on a tiny Llama; returns its path."""

    def write(text: str = "", **settings: Any) -> Path:
        rows = [
            {"subject": s, "relation": r, "object": o, "date": year}
            for s, r, old, new in PEOPLE
            for o, year in ((old, "2015"), (new, "2020"))
        ]
        table = tmp_path / "people.jsonl"
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "text.txt").write_text("The Navy is in London. Paris is a city.\n\n" * 200)
        path = tmp_path / "config.toml"
        values = {
            "line": "tiny",
            "workspace": str(tmp_path / "workspace"),
            "model": str(checkpoint("llama")),
            "reliability": 0.0,
            **settings,
        }
        path.write_text(TEMPLATE.format(**values) + text)
        return path

    return write


TEMPLATE = """\
line = "{line}"
workspace = "{workspace}"
[model]
name = "{model}"
dtype = "float32"
shard_size = 8
max_new_tokens = 4
[[sources]]
kind = "table"
name = "people"
path = "people.jsonl"
[probe]
max_changes = 100
[plan]
max_edits = 6
max_neighbours = 4
teach_unknown = true
[edit]
text = "text.txt"
threads = 1
options = {{ layers = [1, 2], statistics_tokens = 512, window = 64, chunk = 4 }}
[evaluate]
text = "text.txt"
text_chars = 2000
num_neutral = 2
[gate]
ES = {reliability}
reliability = 0.0
PS = 0.0
generality = 0.0
retention_drop = 1.0
superseded = 1.0
superseded_paraphrase = 1.0
NS_drop = 1.0
leak = 1.0
near_agreement = 0.0
subject_agreement = 0.0
neutral_agreement = 0.0
kl = 1000.0
perplexity_ratio = 1000.0
me_ppl_ratio = 1000.0
norm_ratio = 1000.0
export_loss = 1.0
adapter_loss = 1.0
quarantined = 1.0
bisect = false
[[editions]]
as_of = 2016-06-30
[[editions]]
as_of = 2021-06-30
"""
