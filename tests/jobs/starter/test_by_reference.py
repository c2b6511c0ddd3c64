"""`corrigenda init` writes no secret that it is given: a reference stands in its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from pipeline.config import load_config

FEEDS = (
    "https://ada:CANARY-one@e.org/feed?token=CANARY-two&id=5",
    "https://ada:CANARY-one@e.org/other?token=CANARY%2Fthree",
    "https://CANARY-four@e.org/feed?api_key=$KNOWN",
)
SPARQL = (
    "SELECT ?item { SERVICE <https://me:CANARY-five@e.org/?key=CANARY-six&n=1> { ?item ?p ?o } }"
)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("feed", {"feeds": ",".join(FEEDS), "relations": "P108"}),
        ("wikidata", {"query": SPARQL, "endpoint": "https://ada:CANARY-seven@wikidata.org"}),
    ],
)
def test_a_secret_becomes_a_reference(
    kind: str, given: dict[str, str], corrigenda: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """Neither the config nor the terminal has one; with the variables set as it says, the source is
    asked with what was given."""
    monkeypatch.chdir(tmp_path)
    flags = [w for key, value in given.items() for w in ("--set", f"{key}={value}")]
    words = ("init", "c.toml", "--kind", kind, "--name", "my-news", *flags)
    model = ("--model", "smollm2-135m-instruct", "--set", "contact=a@b.org")
    code, out, err = corrigenda(*words, *model)
    assert (code, err) == (0, "")
    text = Path("c.toml").read_text()
    assert "CANARY" not in text + out
    told = re.findall(r"set the environment variable (\w+) to it", out)
    secrets = list(dict.fromkeys(re.findall(r"CANARY[\w%-]+", " ".join(given.values()))))
    assert told and len(told) == len(secrets) and all(f"${{{name}}}" in text for name in told)
    order = sorted(told, key=lambda name: text.index(f"${{{name}}}"))
    places = sorted(secrets, key=" ".join(given[k] for k in sorted(given, key=text.index)).index)
    for name, secret in zip(order, places, strict=True):
        monkeypatch.setenv(name, unquote(secret))
    monkeypatch.setenv("KNOWN", "known")
    (source,) = load_config(Path("c.toml")).sources
    filled = source.filled("s")
    for key, value in given.items():
        if key in source.may_hold_secrets:
            real = filled.real(key)
            real = ",".join(real) if isinstance(real, tuple) else real
            assert real == value.replace("$KNOWN", "known")
    assert not source.literal_secrets
