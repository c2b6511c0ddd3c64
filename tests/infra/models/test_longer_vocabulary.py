"""A checkpoint with a longer vocabulary: read by plain transformers, and no new token is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import ALL_KINDS, KINDS, STATEFUL, make_model, make_tokenizer
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from infra.errors import ModelError
from infra.models.loading import load, load_tokenizer
from infra.models.longer_vocabulary import lengthen, require_kept
from infra.models.tokenizer.insertion import with_insertions

NAMES = [["Tom Brady"], ["Neymar"], ["Grace Hopper"]]
OWN_RULES = {"qwen2"}
"""Kinds whose tokenizers transformers makes anew, whatever the file says."""
TEXT = "Tom Brady plays for Derby County, said Neymar"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


def saved(path: Path, kind: str, tokenizer: Any, **settings: Any) -> Any:
    """A tiny model of a kind, written into a directory."""
    model = make_model(kind, torch.float32)
    model.save_pretrained(path, **settings)
    tokenizer.save_pretrained(path)
    return model


def longer(path: Path) -> Tensor:
    """Give the directory's model three tokens; their rows."""
    own = load_tokenizer(path)
    width = json.loads((path / "config.json").read_text())
    rows = torch.randn(3, width.get("hidden_size") or width["n_embd"]) * 5
    lengthen(path, rows.to, len(own), with_insertions(own, NAMES))
    return rows


@pytest.mark.parametrize("kind", [kind for kind in (*KINDS, *STATEFUL) if kind not in OWN_RULES])
def test_plain_transformers_reads_it(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    """Old rows are the base's bit for bit, the new ones as given; the tokenizer inserts; no logit
    of a new token is above all old ones, and a text without a name has the base's logits."""
    model = saved(tmp_path, kind, tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = longer(tmp_path)
    own = AutoTokenizer.from_pretrained(tmp_path)
    made: Any = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    inner, outer = made.get_input_embeddings().weight, made.get_output_embeddings().weight
    assert len(inner) == len(outer) == made.config.vocab_size
    assert len(inner) % 64 == 0 and len(inner) >= len(own) == len(tokenizer) + 3
    torch.testing.assert_close(inner[len(tokenizer) : len(own)], rows)
    for name, value in made.state_dict().items():
        old = before[name]
        assert torch.equal(value[: len(tokenizer)] if len(value) != len(old) else value, old), name
    ids = own(TEXT)["input_ids"]
    assert [i - len(tokenizer) for i in ids if i >= len(tokenizer)] == [0, 1]
    with torch.no_grad():
        logits = made(torch.tensor([ids])).logits[0]
        plain = torch.tensor([tokenizer("The weather in Paris is")["input_ids"]])
        old, new = model(plain).logits, made(plain).logits
    assert (logits[:, len(tokenizer) :].amax(-1) <= logits[:, : len(tokenizer)].amax(-1)).all()
    torch.testing.assert_close(new[..., : old.shape[-1]], old)


def test_in_shards_with_an_index(tokenizer: Any, tmp_path: Path) -> None:
    """Where the weights are in several files, the index names the head, and the size of all."""
    saved(tmp_path, "llama", tokenizer, max_shard_size="40KB")
    longer(tmp_path)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    names = set(index["weight_map"].values())
    assert index["weight_map"]["lm_head.weight"] in names and len(names) > 1
    model, _ = load(tmp_path, dtype=torch.float32)
    assert index["metadata"]["total_size"] == sum(p.nbytes for p in model.parameters())


@pytest.mark.parametrize("kind", [*KINDS, *STATEFUL])
def test_kinds_whose_rules_are_not_read_are_known(kind: str, tokenizer: Any) -> None:
    """Where transformers makes a tokenizer of its own, that is said before anything is edited."""
    config = AutoConfig.for_model(kind, **ALL_KINDS[kind])
    inserts = with_insertions(tokenizer, NAMES)
    if kind in OWN_RULES:
        with pytest.raises(ModelError, match=f"tokenizers of {kind} without"):
            require_kept(inserts, config)
    else:
        require_kept(inserts, config)


def test_rows_of_no_token_are_taken(tokenizer: Any, tmp_path: Path) -> None:
    """An embedding that is longer than the tokenizer is not made longer where there is room."""
    model = make_model("qwen3", torch.float32)
    model.resize_token_embeddings(400, mean_resizing=False)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    rows = longer(tmp_path)
    made, _ = load(tmp_path, dtype=torch.float32)
    weight = made.get_input_embeddings().weight
    assert len(weight) == 400
    torch.testing.assert_close(weight[len(tokenizer) : len(tokenizer) + 3], rows)
