"""Fixtures that several packages' tests share: tiny checkpoints and a small world of dated
facts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from tiny_models import make_model, make_tokenizer
from worlds import TEMPLATE, job

from pipeline.flow import run_editions

os.environ["RAY_AUTH_MODE"] = "disabled"
"""One process keeps the mode of the first Ray that it starts or joins; tests start several."""

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")  # an example may wait for other work on the machine

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
        return write_world(tmp_path, checkpoint("llama"), text, **settings)

    return write


@pytest.fixture(scope="session")
def released(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]
) -> tuple[Path, Path]:
    """Config and workspace of the small world after a run, with two releases; to be copied."""
    folder = tmp_path_factory.mktemp("released")
    config = write_world(folder, checkpoint("llama"))
    run_editions(job(config, folder / "workspace"))
    return config, folder / "workspace"


def write_world(folder: Path, model: Path, text: str = "", /, **settings: Any) -> Path:
    """Write the small world into a directory, with `text` behind its config; the config's path."""
    rows = [
        {"subject": s, "relation": r, "object": o, "date": year}
        for s, r, old, new in PEOPLE
        for o, year in ((old, "2015"), (new, "2020"))
    ]
    (folder / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "text.txt").write_text("The Navy is in London. Paris is a city.\n\n" * 200)
    path = folder / "config.toml"
    values = {
        "line": "tiny",
        "workspace": str(folder / "workspace"),
        "model": str(model),
        "reliability": 0.0,
        **settings,
    }
    path.write_text(TEMPLATE.format(**values) + text)
    return path
