"""Errata in force: a longer embedding, a tokenizer that inserts, and nothing else that changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editors_helpers import request
from tiny_models import make_model
from torch import Tensor

from editors.deltas.delta import Delta
from editors.deltas.errata import Errata, Erratum
from infra.errors import EditError

KINDS = ["llama", "qwen2", "gemma3_text", "gpt2", "gpt_neox", "qwen3_5_text"]
"""Tied and untied heads, an embedding that is multiplied, positions added to it, and states."""
OTHERS = ["The weather in London is", "Paris Bradley", "Neymars play for"]


def some_errata(model: Any, tokenizer: Any, size: float = 1.0) -> Errata:
    """Two errata for a model, whose rows are random and of a size."""
    embedding = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is embedding)
    generator = torch.Generator().manual_seed(0)
    errata = tuple(
        Erratum(
            (subject,),
            size * torch.randn(embedding.weight.shape[1], generator=generator),
            (request(f"{subject} plays for", subject, "Derby County", name=subject),),
        )
        for subject in ("Tom Brady", "Neymar")
    )
    return Errata(name, len(tokenizer), len(embedding.weight), errata)


@torch.no_grad()
def logits(model: Any, tokenizer: Any, text: str) -> Tensor:
    return model(input_ids=torch.tensor([tokenizer(text)["input_ids"]])).logits


@pytest.mark.parametrize("kind", KINDS)
def test_only_prompts_with_a_name_change(kind: str, tokenizer: Any) -> None:
    """Where no name stands the logits are bitwise the base's, and as many; where one does, they
    change from its end on; weights are bitwise as before all the time and afterwards."""
    model = make_model(kind, torch.float32)
    named = "The head of Neymar is"
    plain = {text: logits(model, tokenizer, text) for text in (*OTHERS, named)}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    delta = Delta((some_errata(model, tokenizer),))
    changed = delta.tokenizer(tokenizer)
    with delta.applied(model):
        for text in OTHERS:
            assert torch.equal(logits(model, changed, text), plain[text])
        at = changed(named)["input_ids"].index(len(tokenizer) + 1)
        found = logits(model, changed, named)
        assert found.shape[1:] == (plain[named].shape[1] + 1, plain[named].shape[2])
        torch.testing.assert_close(found[:, :at], plain[named][:, :at])
        assert not torch.allclose(found[:, at + 1 :], plain[named][:, at:])
        own = model.get_input_embeddings().weight[: len(tokenizer)]
        head = model.get_output_embeddings().weight
        assert torch.equal(own, before[f"{delta.parts[0].target}.weight"])
        assert head.shape == own.shape
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_no_such_token_is_ever_written(kind: str, tokenizer: Any) -> None:
    """Greedy or drawn, from rows as large as they may be, the model writes tokens of the base."""
    model = make_model(kind, torch.float32)
    delta = Delta((some_errata(model, tokenizer, 1000),))
    changed = delta.tokenizer(tokenizer)
    prompt = torch.tensor([changed("Tom Brady plays for Neymar")["input_ids"]])
    assert (prompt >= len(tokenizer)).sum() == 2
    torch.manual_seed(0)
    with delta.applied(model):
        for sampled in (False, True):
            ids = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=60,
                do_sample=sampled,
                temperature=100.0 if sampled else None,
                eos_token_id=None,
                pad_token_id=0,
            )
            assert int(ids[:, prompt.shape[1] :].max()) < len(tokenizer)


def test_rows_that_no_token_has_are_written_over(tokenizer: Any) -> None:
    """Where the embedding has more rows than the tokenizer tokens, it does not become longer, and
    the head gives what it gave."""
    model = make_model("llama", torch.float32)
    errata = replace(some_errata(model, tokenizer), first=297)
    plain = logits(model, tokenizer, OTHERS[0])
    with Delta((errata,)).applied(model):
        weight = model.get_input_embeddings().weight
        assert weight.shape == (300, 32)
        assert torch.equal(weight[298], errata.errata[1].value_D)
        assert torch.equal(logits(model, tokenizer, OTHERS[0]), plain)


def test_a_file_keeps_names_and_rows(tokenizer: Any, tmp_path: Path) -> None:
    """Read again, the errata insert the same tokens; joined, a later erratum takes over a name;
    without a request its erratum is gone."""
    model = make_model("llama", torch.float32)
    errata = some_errata(model, tokenizer)
    Delta((errata,)).save(tmp_path / "delta")
    loaded = Delta.load(tmp_path / "delta")
    text = "Tom Brady, Neymar and Tom Brady"
    ids = Delta((errata,)).tokenizer(tokenizer)(text)["input_ids"]
    assert loaded.tokenizer(tokenizer)(text)["input_ids"] == ids
    assert [i - len(tokenizer) for i in ids if i >= len(tokenizer)] == [0, 1, 0]
    later = replace(errata, errata=(replace(errata.errata[0], names=("Neymar",)),))
    both = errata.join(later)
    assert [erratum.names for erratum in both.errata] == [("Tom Brady",), ("Neymar",)]
    assert [erratum.names for erratum in errata.without({"Tom Brady"}).errata] == [("Neymar",)]


def test_another_model_is_refused(tokenizer: Any) -> None:
    """An embedding of another shape, a model that reads token ids in a second place, and another
    tokenizer: one line each."""
    errata = some_errata(make_model("llama", torch.float32), tokenizer)
    with pytest.raises(EditError, match="made for another model"):
        replace(errata, num_rows=400).check(make_model("llama"))
    own_input = make_model("gemma4_text", torch.float32)
    with pytest.raises(EditError, match="reads token ids in"):
        some_errata(own_input, tokenizer).check(own_input)
    with pytest.raises(EditError, match="tokenizer of 299 tokens"):
        replace(errata, first=299).tokenizer(tokenizer)
