"""`corrigenda check` describes a model by its files, whatever is in them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.check.model import check_model
from pipeline.config import load_config


def settings(**changes: Any) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        known = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**known, **changes}))

    return spoil


def no_json(path: Path) -> None:
    (path / "tokenizer_config.json").write_text("[")


def cut(path: Path) -> None:
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[: len(content) // 2])


def piped(path: Path) -> None:
    (path / "model.safetensors").unlink()
    os.mkfifo(path / "model.safetensors")


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "a tokenizer's settings that are no JSON": (no_json, "tokenizer_config.json"),
    "cut weights": (cut, "cannot be read"),
    "weights as a pipe": (piped, "a pipe"),
    "architectures as a number": (settings(architectures=5), ""),
    "a text config that is a list": (settings(text_config=[1]), "cannot be loaded"),
    "10^9 layers": (settings(num_hidden_layers=10**9), "num_hidden_layers"),
}
"""How a model is spoilt, and what the line says that would stop a run; empty where none would."""


@pytest.mark.parametrize("what", SPOILT)
def test_what_would_stop_a_run_is_told_in_a_line(
    what: str, checkpoint: Callable[[str], Path], world: Callable[..., Path], tmp_path: Path
) -> None:
    """A model that is not whole is in the result, and never an exception."""
    spoil, said = SPOILT[what]
    spoil(Path(shutil.copytree(checkpoint("llama"), tmp_path / "base")))
    config = load_config(world(), {"model.name": str(tmp_path / "base")})
    found = check_model(config, tmp_path / "cache")
    assert [said in stop and "\n" not in stop for stop in found.stops] == [True] * bool(said)
