"""What every editor in `EDITORS` keeps to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editors_helpers import propose, request, small_config, some_requests
from tiny_models import TEXTS
from torch import Tensor

from editors import EDITORS
from editors.base import Base
from editors.deltas.delta import Delta
from editors.editor import Corpus, EditorCall
from editors.external_memory.extension_based.grace import GraceConfig, GraceValueConfig
from infra.errors import ConfigError
from infra.settings import validate

CONFIGS: dict[str, Any] = {
    "memit": small_config(),
    "grace": GraceConfig(layer=1, values=GraceValueConfig(steps=5)),
}
"""Settings that run in a moment; an editor without an entry has its defaults."""


def make(name: str) -> Any:
    return EDITORS[name](CONFIGS.get(name))


def fit(editor: Any, base: Base) -> Any:
    return None if editor.Fitted is None else editor.fit(EditorCall(base), Corpus(TEXTS))


def snapshot(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def is_as(model: Any, before: dict[str, Tensor]) -> bool:
    """Weights bitwise, and no hook, substituted forward or gradient left behind."""
    return (
        all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        and all(p.requires_grad and p.grad is None for p in model.parameters())
        and not any(
            m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__
            for m in model.modules()
        )
    )


@torch.no_grad()
def logits(base: Base, prompts: Sequence[str]) -> list[Tensor]:
    ids = [torch.tensor([base.tokenizer(prompt)["input_ids"]]) for prompt in prompts]
    return [base.model(input_ids=x).logits[0] for x in ids]


@pytest.mark.parametrize("name", EDITORS)
def test_a_delta_and_its_way_back(name: str, llama: Any, tokenizer: Any, tmp_path: Path) -> None:
    """The model is bitwise the same after every phase; reports come in the order of requests; an
    applied delta changes the answers, a saved one by the same bits, a restored one none."""
    base, editor, before = Base(llama, tokenizer, "base"), make(name), snapshot(llama)
    requests = some_requests()
    fitted = fit(editor, base)
    assert is_as(llama, before)
    call = EditorCall(base, fitted)
    work = editor.prepare(call, requests)
    assert is_as(llama, before) and work.requests == tuple(requests)
    for group in work.groups:
        call.store.update(editor.find_values(call, group))
    assert is_as(llama, before)
    proposal = editor.propose(call, work)
    assert is_as(llama, before)
    assert [report.id for report in proposal.reports] == [item.id for item in requests]
    assert {report.status for report in proposal.reports} == {"edited"}
    assert editor.low_rank == bool(proposal.delta.low_rank())
    prompts = [item.prompt for item in requests]
    plain = logits(base, prompts)
    undo = proposal.delta.apply_(llama)
    asked = replace(base, tokenizer=proposal.delta.tokenizer(tokenizer))
    edited = logits(asked, prompts)
    undo.close()
    assert is_as(llama, before)
    assert all(not torch.equal(one, other) for one, other in zip(plain, edited, strict=True))
    assert all(torch.equal(*pair) for pair in zip(plain, logits(base, prompts), strict=True))
    proposal.delta.save(tmp_path / "delta.safetensors")
    loaded = Delta.load(tmp_path / "delta.safetensors")
    assert loaded.digest == proposal.delta.digest
    with loaded.applied(llama):
        assert all(torch.equal(*pair) for pair in zip(edited, logits(asked, prompts), strict=True))
    assert is_as(llama, before)


@pytest.mark.parametrize("name", EDITORS)
def test_values_from_a_store_give_the_same_delta(name: str, llama: Any, tokenizer: Any) -> None:
    """What was found once is not sought again, by another editor of the same settings either."""
    base, store = Base(llama, tokenizer, "base"), {}
    fitted = fit(make(name), base)
    first = propose(make(name), EditorCall(base, fitted, store), some_requests())
    assert make(name).prepare(EditorCall(base, fitted, store), some_requests()).groups == ()
    second = propose(make(name), EditorCall(base, fitted, dict(store)), some_requests())
    assert second.delta.digest == first.delta.digest and second.reports == first.reports


@pytest.mark.parametrize("name", EDITORS)
def test_bad_requests_are_set_aside(name: str, llama: Any, tokenizer: Any) -> None:
    """A contradiction is quarantined under its ids, with a reason, and the rest goes on as if it
    had never been asked for."""
    base, editor = Base(llama, tokenizer, "base"), make(name)
    fitted = fit(editor, base)
    good = some_requests()[:2]
    bad = request("Neymar plays for", "Neymar", "Paris", name="one")
    bad = [bad, replace(bad, id="two", target="London")]
    proposal = propose(editor, EditorCall(base, fitted), [good[0], bad[0], good[1], bad[1]])
    statuses = [(report.id, report.status) for report in proposal.reports]
    assert statuses == [
        (good[0].id, "edited"),
        ("one", "quarantined"),
        (good[1].id, "edited"),
        ("two", "quarantined"),
    ]
    assert all(report.reason for report in proposal.reports if report.status == "quarantined")
    assert proposal.delta.digest == propose(editor, EditorCall(base, fitted), good).delta.digest


@pytest.mark.parametrize("name", EDITORS)
def test_no_request_is_no_change(name: str, llama: Any, tokenizer: Any) -> None:
    """An empty batch, or one of refused requests only, has an empty delta."""
    base, editor = Base(llama, tokenizer, "base"), make(name)
    fitted = fit(editor, base)
    nothing = propose(editor, EditorCall(base, fitted), [])
    assert nothing.reports == () and nothing.delta.digest == Delta().digest


@pytest.mark.parametrize("name", EDITORS)
def test_parts_merge_into_the_whole(name: str, llama: Any, tokenizer: Any, tmp_path: Path) -> None:
    """What three workers fit, through files, edits as what one fits does, to rounding."""
    base, editor = Base(llama, tokenizer, "base"), make(name)
    if editor.Fitted is None:
        assert editor.fit(EditorCall(base), Corpus(TEXTS)) is None
        return
    parts = [editor.fit(EditorCall(base), Corpus(TEXTS, (i, 3))) for i in range(3)]
    for i, part in enumerate(parts):
        part.save(tmp_path / str(i))
    one, two, three = (editor.Fitted.load(tmp_path / str(i)) for i in range(3))
    store: dict[str, Tensor] = {}
    fitted = three.merge(one).merge(two)
    merged = propose(editor, EditorCall(base, fitted, store), some_requests())
    whole = propose(editor, EditorCall(base, fit(editor, base), store), some_requests())
    prompts = [item.prompt for item in some_requests()]
    with merged.delta.applied(llama):
        found = logits(base, prompts)
    with whole.delta.applied(llama):
        expected = logits(base, prompts)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", EDITORS)
def test_an_unknown_option_is_refused(name: str) -> None:
    """A misspelt setting of an editor is one clear line, not a setting that is left out."""
    with pytest.raises(ConfigError, match="no_such_option"):
        validate(EDITORS[name].Config, {"no_such_option": 1}, "config [edit.options]")
