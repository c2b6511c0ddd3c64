"""Fine-tuning end to end: edits take, kills cost an epoch, bad requests are set aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import editors_helpers
import pytest
import torch
from editors_helpers import changes, request, some_requests
from finetune_helpers import CONFIG, change_of, propose
from tiny_models import make_model
from torch import Tensor

from editors import EDITORS
from editors.base import Base
from editors.editor import EditorCall
from editors.global_optimization.constrained_fine_tuning import fine_tune
from editors.global_optimization.constrained_fine_tuning.config import FtMConfig, LocFtBfConfig
from editors.global_optimization.constrained_fine_tuning.fine_tune import FtM, LocFtBf
from editors.global_optimization.constrained_fine_tuning.training import Training
from editors.internals.discover import discover
from editors.internals.tokens import in_context
from editors.request import EditRequest
from infra.errors import ConfigError, EditError


def answers(model: Any, tokenizer: Any, item: EditRequest, num: int) -> str:
    """The model's greedy continuation of a prompt, `num` tokens."""
    ids = tokenizer(item.prompt, return_tensors="pt")["input_ids"]
    for _ in range(num):
        with torch.no_grad():
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1:].argmax(dim=-1)], dim=1)
    return tokenizer.decode(ids[0])[len(item.prompt) :]


@pytest.mark.parametrize("method", ["ft-m", "locft-bf"])
def test_edits_take_and_the_model_stays(method: str, tokenizer: Any) -> None:
    """The loss falls, the greedy answers become the targets, and not a bit of the model moves."""
    model = make_model("llama", torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    requests = some_requests()[:3]
    config = EDITORS[method].Config(layer=1, learning_rate=0.05, epochs=100)
    first = propose(model, tokenizer, requests, replace(config, epochs=1))
    last = propose(model, tokenizer, requests, config)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or "forward" in m.__dict__ for m in model.modules())
    for one, two in zip(first.reports, last.reports, strict=True):
        assert two.status == "edited" and two.loss is not None and one.loss is not None
        assert two.loss < 0.3 < one.loss and (two.p_target or 0) > 0.7
    end = "<end>" if config.end_of_text else ""
    with last.delta.applied(model):
        for item in requests:
            num = len(tokenizer(f" {item.target}")["input_ids"]) + bool(end)
            assert answers(model, tokenizer, item, num) == f" {item.target}{end}"


def test_one_batch_is_the_mean_of_all(llama: Any, tokenizer: Any) -> None:
    """A mini-batch as large as the set: one step an epoch, FT-M's; a small set is dealt out into
    more steps than its size asks for."""
    requests = some_requests()
    whole = propose(llama, tokenizer, requests, FtMConfig(layer=1, epochs=2))
    config = LocFtBfConfig(layer=1, learning_rate=2e-3, epochs=2, epoch_steps=1, end_of_text=False)
    assert whole.delta.digest == propose(llama, tokenizer, requests, config).delta.digest
    steps: list[str] = []
    dealt = replace(config, epoch_steps=3, stop_loss=0.0)
    propose(llama, tokenizer, requests, dealt, progress=lambda text, *_: steps.append(text))
    assert len([text for text in steps if text.startswith("epoch")]) == 2 * 3


@pytest.mark.parametrize("killed_at", [1, 4, 5, 7])
def test_goes_on_bitwise_after_a_kill(llama: Any, tokenizer: Any, killed_at: int) -> None:
    """Killed in the middle of any epoch, it starts at that epoch again and ends with the same bits;
    finished, it trains no more and its state is the change alone."""
    requests = some_requests()
    whole: dict[str, Tensor] = {}
    said: list[str] = []
    expected = propose(
        llama, tokenizer, requests, store=whole, progress=lambda text, *_: said.append(text)
    )
    steps = [text for text in said if text.startswith("epoch")]
    assert len(steps) == 9 and steps[0].startswith("epoch 1, loss ")
    store: dict[str, Tensor] = {}
    again: list[str] = []

    def killed(text: str, _done: int, _total: int) -> None:
        again.extend([text] if text.startswith("epoch") else [])
        if len(again) == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        propose(llama, tokenizer, requests, store=store, progress=killed)
    assert bool(store) == (killed_at > 3)
    kept = {name: value.clone() for name, value in store.items()}
    rest: list[str] = []
    resumed = propose(
        llama, tokenizer, requests[::-1], store=store, progress=lambda text, *_: rest.append(text)
    )
    assert [text for text in rest if text.startswith("epoch")] == steps[
        3 * ((killed_at - 1) // 3) :
    ]
    assert resumed.delta.digest == expected.delta.digest
    assert resumed.reports == expected.reports[::-1]
    assert all(torch.equal(store[name], whole[name]) for name in whole)
    assert not kept or any(not torch.equal(kept[name], store[name]) for name in kept)
    done: list[str] = []
    third = propose(
        llama, tokenizer, requests, store=store, progress=lambda text, *_: done.append(text)
    )
    assert set(done) == {"trunk"}
    assert third.delta.digest == expected.delta.digest and third.reports == expected.reports
    assert sum(value.numel() for value in store.values()) == change_of(third).numel() + 4


def test_a_state_belongs_to_its_content(llama: Any, tokenizer: Any) -> None:
    """Another base, request, target or setting does not go on from it; ids and order do."""
    editor = LocFtBf(CONFIG)
    base = Base(llama, tokenizer, "base")
    facts = [("a", "b"), ("c", "d")]
    key = editor.state_key(base, facts)
    assert key == editor.state_key(base, facts[::-1])
    others = {
        editor.state_key(replace(base, digest="other"), facts),
        editor.state_key(base, facts[:1]),
        editor.state_key(base, [("a", "b"), ("c", "x")]),
        LocFtBf(replace(CONFIG, seed=1)).state_key(base, facts),
        LocFtBf(replace(CONFIG, epochs=9)).state_key(base, facts),
    }
    assert len(others | {key}) == 6


def test_stops_when_all_is_learnt(llama: Any, tokenizer: Any) -> None:
    """An epoch below `stop_loss` is the last; a mini-batch below it makes no step."""
    requests = some_requests()
    store: dict[str, Tensor] = {}
    config = replace(CONFIG, learning_rate=0.05, epochs=200, stop_loss=0.3)
    proposal = propose(llama, tokenizer, requests, config, store=store)
    [count] = [value.tolist() for name, value in store.items() if name.endswith(".count")]
    epochs, steps, loss, finished = count
    assert finished and 1 < epochs < 200 and loss < 0.3
    assert steps < 3 * (epochs - 1) + 3
    assert all((report.loss or 9) < 1 for report in proposal.reports)
    known = propose(llama, tokenizer, requests, replace(config, stop_loss=10))
    assert not change_of(known).any() and known.reports[0].steps == 1


def test_a_lost_row_stays_alone(llama: Any, tokenizer: Any) -> None:
    """A token with a broken embedding: its request is quarantined, the others train as without."""
    requests = some_requests()[:3]
    healthy = propose(llama, tokenizer, requests[:2], FtMConfig(layer=1, epochs=2))
    ids = [set(in_context(tokenizer, item, "").ids) for item in requests]
    broken = make_model("llama")
    embedding = torch.nn.Embedding.from_pretrained(broken.get_input_embeddings().weight.clone())
    with torch.no_grad():
        embedding.weight[min(ids[2] - ids[0] - ids[1])] = torch.nan
    base = Base(broken, tokenizer, "base")
    assert base.architecture
    broken.model.embed_tokens = embedding
    editor = FtM(FtMConfig(layer=1, epochs=2))
    for chosen, status in (
        (requests, ["edited", "edited", "quarantined"]),
        (requests[2:], ["quarantined"]),
    ):
        proposal = editors_helpers.propose(editor, EditorCall(base), chosen)
        assert [report.status for report in proposal.reports] == status
        assert "not finite" in proposal.reports[-1].reason
        if len(chosen) > 1:
            torch.testing.assert_close(change_of(proposal), change_of(healthy))
        else:
            assert not proposal.delta.parts


def test_a_training_that_blows_up_is_reported(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step out of all range: every request is quarantined, there is no delta, nothing raises, and
    the epochs that are left are not gone through."""

    def exploding(training: Training, *_: Any) -> None:
        training.change_IO.fill_(1e308)

    monkeypatch.setattr(
        "editors.global_optimization.constrained_fine_tuning.training.adam_step", exploding
    )
    proposal = propose(llama, tokenizer, some_requests(), FtMConfig(layer=1, epochs=20))
    assert {report.status for report in proposal.reports} == {"quarantined"}
    assert not proposal.delta.parts and proposal.reports[0].steps == 2


def test_bad_requests_are_set_aside(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contradictions and what cannot be tokenised are refused by name; a duplicate counts once."""
    good, bad = some_requests()[:2]
    whole = fine_tune.in_context

    def failing(tokenizer: Any, item: EditRequest, text: str) -> Any:
        if item is bad:
            raise EditError("no token covers the subject")
        return whole(tokenizer, item, text)

    monkeypatch.setattr(fine_tune, "in_context", failing)
    requests = [
        good,
        replace(good, id="again"),
        request("Neymar plays for", "Neymar", "Paris", name="one"),
        request("Neymar plays for", "Neymar", "London", name="two"),
        bad,
    ]
    proposal = propose(llama, tokenizer, requests)
    assert [r.status for r in proposal.reports] == ["edited"] * 2 + ["quarantined"] * 3
    assert all("contradiction" in r.reason for r in proposal.reports[2:4])
    assert "no token covers" in proposal.reports[4].reason
    assert proposal.delta.digest == propose(llama, tokenizer, [good]).delta.digest
    assert not propose(llama, tokenizer, [bad]).delta.parts
    with pytest.raises(EditError, match="unique"):
        propose(llama, tokenizer, [good, good])


def test_live_edits_are_trained_along(llama: Any, tokenizer: Any) -> None:
    """What the model is to keep has a share in every step and no report; a prompt that is edited
    anew is not kept."""
    requests = some_requests()
    base, editor = Base(llama, tokenizer, "base"), LocFtBf(CONFIG)
    anew = replace(requests[0], id="anew", target="Paris")
    call = EditorCall(base)
    work = editor.prepare(call, [anew, *requests[1:3]])
    kept = editor.propose(call, replace(work, live=tuple(requests)))
    assert [r.id for r in kept.reports] == ["anew", requests[1].id, requests[2].id]
    together = propose(llama, tokenizer, [anew, *requests[1:]])
    assert kept.delta.digest == together.delta.digest


def test_layers(llama: Any, tokenizer: Any) -> None:
    """By depth when unset; one that the model lacks is refused with those that it has."""
    proposal = propose(llama, tokenizer, some_requests()[:1], replace(CONFIG, layer=None))
    [name] = changes(proposal.delta)
    assert name in {block.name for block in discover(llama).blocks}
    with pytest.raises(ConfigError, match=r"has 4 \(0-3\)"):
        propose(llama, tokenizer, some_requests()[:1], replace(CONFIG, layer=4))


@pytest.mark.parametrize(
    "wrong",
    [{"layer": -1}, {"learning_rate": 0.0}, {"epochs": 0}, {"batch": 0}, {"num_prefixed": 99}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """The message names the setting."""
    for kind in (LocFtBfConfig, FtMConfig):
        with pytest.raises(ConfigError, match=rf"{kind.__name__}: {next(iter(wrong))}="):
            kind(**wrong)
