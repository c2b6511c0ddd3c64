"""The batched search for values equals a slow one: one fact, one row, whole forward passes,
autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from editors_helpers import some_requests
from tiny_models import KINDS, NORMALISED, make_model
from torch import Tensor

from editors.internals.architecture import Architecture, Block
from editors.internals.contexts import contexts
from editors.internals.discover import discover
from editors.internals.forward import shifted
from editors.internals.suffix import Place
from editors.internals.tokens import TokenRow, encode, essence, in_context
from editors.values.config import ValueConfig
from editors.values.search import KEPT_TOKENS, FactRows, Value, optimise
from infra.errors import ConfigError

LAYER = 1
CONFIG = ValueConfig(steps=6, learning_rate=0.3, clamp=0.9, stop_loss=5.0)


def some_facts(model: Any, tokenizer: Any) -> list[FactRows]:
    texts = contexts(model, tokenizer, num_prefixed=2, num_tokens=3)
    return [
        FactRows(
            tuple(in_context(tokenizer, r, text) for text in texts), essence(tokenizer, r.subject)
        )
        for r in some_requests()
    ]


def with_kept(facts: Sequence[FactRows], tokenizer: Any) -> list[FactRows]:
    """With prompts about each subject that are to stay, of unlike lengths, and what may follow."""
    found = []
    for fact, item in zip(facts, some_requests(), strict=False):
        rows = []
        for template, own in (("{} is", (5, 6, 7)), ("The name {} refers to", (8, 9))):
            prompt, at = template.replace("{}", item.subject), template.index("{}")
            row = encode(tokenizer, prompt, (at, at + len(item.subject)))
            rows.append(replace(row, ids=(*row.ids, *own), num_target=len(own)))
        found.append(replace(fact, kept=tuple(rows)))
    return found


def predictions(model: Any, block: Block, row: TokenRow, delta_D: Tensor) -> Tensor:
    """Log-probabilities [T, V] of the tokens that are a row's target."""
    logp_TV = forward(model, block, row, delta_D)[0].log_softmax(-1)
    return logp_TV[len(row.ids) - row.num_target - 1 : -1]


def grouped(logp_TV: Tensor, top_TK: Tensor) -> Tensor:
    """Those of the given tokens, and that of any other, [T, K + 1]."""
    p_TK = logp_TV.exp().gather(-1, top_TK)
    return torch.cat([p_TK, (1 - p_TK.sum(-1, keepdim=True)).clamp(min=1e-6)], dim=-1).log()


def forward(model: Any, block: Block, row: TokenRow, delta_D: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [T, V] of a whole row with δ at its lookup token, and the site's value there without
    δ."""
    site = block.module if block.gain is not None else block.projection
    bare: list[Tensor] = []

    def add(_module: Any, _args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        bare.append(hidden[0, row.lookup].detach())
        one_hot = torch.zeros(hidden.shape[1], 1, dtype=hidden.dtype)
        one_hot[row.lookup] = 1
        moved = hidden + one_hot * delta_D
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = site.register_forward_hook(add)
    try:
        return model(input_ids=torch.tensor([row.ids])).logits[0], bare[0]
    finally:
        handle.remove()


def reference(model: Any, block: Block, fact: FactRows, config: ValueConfig) -> Value:
    """The objective as it is written, minimised one fact at a time."""
    assert fact.essence is not None
    width = model.get_input_embeddings().weight.shape[1]
    delta_D = torch.zeros(width, dtype=torch.float64, requires_grad=True)
    _, h_D = forward(model, block, fact.rows[0], delta_D)
    rate = config.learning_rate * float(h_D.norm()) / width**0.5
    mean_D, square = torch.zeros(width, dtype=torch.float64), 0.0
    step, loss, nll = 0, torch.zeros(()), torch.zeros(())
    base_V = forward(model, block, fact.essence, delta_D)[0][-1].log_softmax(-1).detach()
    bases = [predictions(model, block, row, delta_D).detach() for row in fact.kept]
    tops = [base_TV.topk(KEPT_TOKENS, dim=-1).indices for base_TV in bases]
    for step in range(1, config.steps + 1):
        nll = torch.zeros(())
        for row in fact.rows:
            logp_TV = forward(model, block, row, delta_D)[0].log_softmax(-1)
            start = len(row.ids) - row.num_target
            terms = [-logp_TV[t - 1, row.ids[t]] for t in range(start, len(row.ids))]
            nll = nll + sum(terms) / len(terms) / len(fact.rows)
        logp_V = forward(model, block, fact.essence, delta_D)[0][-1].log_softmax(-1)
        kl = (base_V.exp() * (base_V - logp_V)).sum()
        size = (delta_D.square().sum() + 1e-30).sqrt()
        drift = torch.zeros(())
        turn = slice(step % config.kept_turns, None, config.kept_turns)
        kept = list(zip(fact.kept, bases, tops, strict=True))[turn]
        for row, base_TV, top_TK in kept:
            base_TK = grouped(base_TV, top_TK)
            logp_TK = grouped(predictions(model, block, row, delta_D), top_TK)
            kl_T = (base_TK.exp() * (base_TK - logp_TK)).sum(-1)
            drift = drift + kl_T.mean() / len(kept)
        loss = nll + config.kl_weight * kl + config.decay * size / h_D.norm() ** 2
        loss = loss + config.kept_weight * drift
        settled = float(nll.detach()) < config.stop_loss and float(drift) < config.stop_kept
        if settled or step == config.steps:
            break
        (gradient_D,) = torch.autograd.grad(loss, delta_D)
        mean_D = config.beta1 * mean_D + (1 - config.beta1) * gradient_D
        square = config.beta2 * square + (1 - config.beta2) * float((gradient_D**2).mean())
        scale = (square / (1 - config.beta2**step)) ** 0.5 + 1e-12
        with torch.no_grad():
            delta_D -= rate * mean_D / (1 - config.beta1**step) / scale
            delta_D *= min(1.0, config.clamp * float(h_D.norm()) / float(delta_D.norm()))
    ratio = float(delta_D.detach().norm() / h_D.norm())
    return Value(
        h_D + delta_D.detach(), step, float(loss.detach()), float((-nll.detach()).exp()), ratio
    )


def assert_same(found: Sequence[Value], expected: Sequence[Value], tolerance: float = 1e-7) -> None:
    for i, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.steps == other.steps, f"fact {i}: {one.steps} steps, expected {other.steps}"
        torch.testing.assert_close(one.z_D, other.z_D, rtol=tolerance, atol=tolerance)
        for name in ("loss", "p_target", "norm_ratio"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=10 * tolerance)


@pytest.mark.parametrize("kind", [*KINDS, "lfm2", "qwen3_5_text"])
def test_equals_the_slow_reference(kind: str, tokenizer: Any) -> None:
    """Cached, stubbed, batched and compacted: the same values as whole passes, in float64."""
    model = make_model(kind)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    architecture = discover(model)
    facts = some_facts(model, tokenizer)[: None if kind == "llama" else 3]
    # Gemma's soft caps and norms compute parts in float32 whatever the model's dtype.
    tolerance = 3e-4 if "gemma" in kind else 2e-5
    found = optimise(architecture, facts, LAYER, CONFIG)
    assert_same(
        found,
        [reference(model, architecture.blocks[LAYER], fact, CONFIG) for fact in facts],
        tolerance,
    )
    assert max(value.norm_ratio for value in found) <= CONFIG.clamp + 1e-9


@pytest.mark.parametrize("place", ["block", "projection"])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_blocks_that_share_keys_are_not_left_out(place: Place, layer: int, tokenizer: Any) -> None:
    """The last block of this model uses the keys and values of an earlier one: the loss that is
    reported is that of a whole pass with the change in place."""
    model = make_model("gemma4_text")
    architecture = discover(model)
    assert architecture.shares_keys
    facts = some_facts(model, tokenizer)[:2]
    config = replace(CONFIG, kl_weight=0.0)
    values = optimise(architecture, facts, layer, config, place=place, as_change=True)
    block = architecture.blocks[layer]
    site = block.module if place == "block" else block.projection
    for fact, value in zip(facts, values, strict=True):
        nll = 0.0
        for row in fact.rows:

            def moved(hidden: Tensor, row: TokenRow = row, z_D: Tensor = value.z_D) -> Tensor:
                hidden = hidden.clone()
                hidden[0, row.lookup] += z_D
                return hidden

            with torch.no_grad(), shifted(site, moved):
                logp_TV = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
            start = len(row.ids) - row.num_target
            own = [-float(logp_TV[t - 1, row.ids[t]]) for t in range(start, len(row.ids))]
            nll += sum(own) / len(own) / len(fact.rows)
        assert value.p_target == pytest.approx(math.exp(-nll), rel=3e-4)


@pytest.mark.parametrize(
    ("kind", "turns"), [("llama", 1), ("llama", 2), ("gpt2", 1), ("gptj", 2), ("qwen3_5_text", 1)]
)
def test_what_is_to_stay_equals_the_slow_reference(kind: str, turns: int, tokenizer: Any) -> None:
    """The drift of the base's continuations is in the loss, and a fact ends when it is small."""
    model = make_model(kind)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    architecture = discover(model)
    facts = with_kept(some_facts(model, tokenizer)[:3], tokenizer)
    config = replace(CONFIG, kept_weight=2.0, kept_turns=turns, stop_kept=0.01)
    found = optimise(architecture, facts, LAYER, config)
    wanted = [reference(model, architecture.blocks[LAYER], fact, config) for fact in facts]
    assert_same(found, wanted, 2e-5)
    without = optimise(architecture, facts, LAYER, replace(config, kept_weight=0.0))
    pairs = zip(found, without, strict=True)
    assert all((one.z_D - other.z_D).norm() > 1e-3 for one, other in pairs)


def test_batch_order_and_padding_do_not_matter(llama: Any, tokenizer: Any) -> None:
    """Alone, together, reversed: the same values; and facts do finish at unlike steps."""
    architecture = discover(llama)
    facts = some_facts(llama, tokenizer)
    config = ValueConfig(steps=12, learning_rate=0.3, clamp=3, stop_loss=4.0)
    together = optimise(architecture, facts, LAYER, config)
    assert len({value.steps for value in together}) > 1
    assert_same(optimise(architecture, facts[::-1], LAYER, config)[::-1], together)
    assert_same([optimise(architecture, [f], LAYER, config)[0] for f in facts], together)


@pytest.mark.parametrize("layer", [0, 3])
def test_first_and_last_layer(llama: Any, tokenizer: Any, layer: int) -> None:
    """The ends of the stack: nothing below to stub, nothing above to run."""
    architecture = discover(llama)
    # From the last block δ reaches no later token: the subject's own has to predict the target.
    facts = some_facts(llama, tokenizer)[-1:]
    expected = [reference(llama, architecture.blocks[layer], fact, CONFIG) for fact in facts]
    assert_same(optimise(architecture, facts, layer, CONFIG), expected, 1e-5)


@pytest.mark.parametrize("kind", sorted(NORMALISED))
def test_first_layer_of_a_normalised_model(kind: str, tokenizer: Any) -> None:
    """δ at the projection's output of block 0: no block is stubbed at all."""
    model = make_model(kind)
    architecture = discover(model)
    facts = some_facts(model, tokenizer)[:1]
    expected = [reference(model, architecture.blocks[0], fact, CONFIG) for fact in facts]
    assert_same(optimise(architecture, facts, 0, CONFIG), expected, 3e-4)


def test_the_search_lowers_the_loss(llama: Any, tokenizer: Any) -> None:
    """More steps, a lower loss and a more probable target, for every fact."""
    architecture = discover(llama)
    facts = some_facts(llama, tokenizer)
    first = optimise(architecture, facts, LAYER, ValueConfig(steps=1))
    last = optimise(architecture, facts, LAYER, ValueConfig(steps=15, learning_rate=0.3, clamp=3))
    assert all(b.loss < a.loss for a, b in zip(first, last, strict=True))
    assert all(b.p_target > 1.2 * a.p_target for a, b in zip(first, last, strict=True))
    assert all(value.norm_ratio == 0 and value.steps == 1 for value in first)


def test_leaves_the_model_as_it_was_even_on_errors(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, gradients, hooks and forwards; also when the head raises in the middle of a step."""
    architecture = discover(llama)
    facts = some_facts(llama, tokenizer)
    before = {name: value.clone() for name, value in llama.state_dict().items()}
    calls: list[int] = []
    whole = Architecture.logits

    def failing(self: Architecture, hidden_MD: Tensor) -> Tensor:
        calls.append(len(hidden_MD))
        if len(calls) == 4:
            raise RuntimeError("out of memory")
        return whole(self, hidden_MD)

    monkeypatch.setattr(Architecture, "logits", failing)
    with pytest.raises(RuntimeError):
        optimise(architecture, facts, LAYER, CONFIG)
    assert all(torch.equal(before[name], value) for name, value in llama.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in llama.parameters())
    assert not any(m._forward_hooks or "forward" in m.__dict__ for m in llama.modules())


def test_a_loss_that_is_not_finite_stays_alone(llama: Any, tokenizer: Any) -> None:
    """A token with a broken embedding ruins its own fact and no other."""
    facts = some_facts(llama, tokenizer)
    healthy = optimise(discover(llama), facts[:2], LAYER, CONFIG)
    only = set(facts[2].rows[0].ids) - {
        i for fact in facts[:2] for row in (*fact.rows, fact.essence) if row for i in row.ids
    }
    broken = make_model("llama")
    embedding = torch.nn.Embedding.from_pretrained(broken.get_input_embeddings().weight.clone())
    with torch.no_grad():
        embedding.weight[min(only)] = torch.nan
    architecture = discover(broken)
    broken.model.embed_tokens = embedding
    found = optimise(architecture, facts[:3], LAYER, CONFIG)
    assert_same(found[:2], healthy)
    assert not found[2].z_D.isfinite().any()


def test_a_value_survives_packing() -> None:
    """Pack, unpack: the same value; a lost one stays lost."""
    value = Value(torch.tensor([1.0, torch.nan]), 7, 0.25, 0.5, 0.75)
    again = Value.unpack(value.pack())
    assert torch.equal(again.z_D.nan_to_num(9), torch.tensor([1.0, 9.0]))
    assert (again.steps, again.loss, again.p_target, again.norm_ratio) == (7, 0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"learning_rate": 0.0}, {"clamp": -1.0}, {"beta1": 1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """The message names the setting and its range."""
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))}=.*outside"):
        ValueConfig(**wrong)
