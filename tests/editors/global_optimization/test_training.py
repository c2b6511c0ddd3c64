"""Training on a cached trunk equals training: whole passes, torch's autograd and Adam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from editors_helpers import some_requests
from finetune_helpers import CONFIG, change_of, propose
from tiny_models import make_model
from torch import Tensor

from editors.global_optimization.constrained_fine_tuning.config import LocFtBfConfig
from editors.global_optimization.constrained_fine_tuning.training import (
    Training,
    adam_step,
    epoch_order,
)
from editors.global_optimization.constrained_fine_tuning.trunk import run_trunk
from editors.internals.contexts import contexts
from editors.internals.discover import discover
from editors.internals.forward import frozen
from editors.internals.tokens import in_context
from editors.request import EditRequest


def reference(
    model: Any, tokenizer: Any, requests: Sequence[EditRequest], config: LocFtBfConfig
) -> tuple[Tensor, list[float]]:
    """The change of the model's own weight, one whole row at a time, and the last losses."""
    block = discover(model).blocks[config.layer or 0]
    texts = contexts(
        model, tokenizer, num_prefixed=config.num_prefixed, num_tokens=config.context_tokens
    )
    names = [f"{i}/{r.prompt}/{r.target}" for r in requests for i in range(len(texts))]
    rows = [in_context(tokenizer, r, text) for r in requests for text in texts]
    weight = block.weight
    start = weight.detach().clone()
    optimiser = torch.optim.Adam([weight], lr=config.learning_rate)

    def loss(i: int) -> Tensor:
        end = [tokenizer.eos_token_id] if config.end_of_text else []
        ids = torch.tensor([[*rows[i].ids, *end]])
        first = len(rows[i].ids) - rows[i].num_target
        logp_TV = model(input_ids=ids).logits[0].log_softmax(-1)
        terms = [-logp_TV[t - 1, ids[0, t]] for t in range(first, ids.shape[1])]
        return torch.stack(terms).mean()

    for epoch in range(config.epochs):
        order = epoch_order(names, config.seed, epoch)
        size = config.batch
        for begin in range(0, len(rows), size):
            batch = torch.stack([loss(i) for i in order[begin : begin + size]]).mean()
            optimiser.zero_grad()
            batch.backward()
            optimiser.step()
    with torch.no_grad():
        losses = [float(loss(i)) for i in range(len(rows))]
    return (weight - start).detach(), losses


CASES = [("llama", 1), ("gpt2", 1), ("gemma2", 1), ("gptj", 1), ("granite", 1)]
ENDS = [("llama", 0), ("llama", 3), ("gemma2", 0), ("gemma2", 3)]


@pytest.mark.parametrize(("kind", "layer"), [*CASES, *ENDS])
def test_equals_the_slow_reference(kind: str, layer: int, tokenizer: Any) -> None:
    """Trunk, buckets, mini-batches and our own Adam: the change that torch makes of the weight, at
    the ends of the stack too, whether the block adds its MLP's output or normalises it first."""
    requests = some_requests()[:3]
    config = replace(CONFIG, layer=layer, epochs=2, num_prefixed=1, context_tokens=3)
    proposal = propose(make_model(kind), tokenizer, requests, config)
    expected, losses = reference(make_model(kind), tokenizer, requests, config)
    # Adam divides by the gradient's size: where that is next to nothing, rounding is seen. Gemma
    # computes parts in float32 whatever the model's dtype.
    tolerance = 2e-2 if kind == "gemma2" else 1e-5
    scale = float(expected.abs().max())
    assert scale > 2 * config.learning_rate
    torch.testing.assert_close(change_of(proposal), expected, rtol=0, atol=tolerance * scale)
    for report, pair in zip(proposal.reports, (losses[i : i + 2] for i in (0, 2, 4)), strict=True):
        assert report.loss == pytest.approx(sum(pair) / 2, rel=1e-4)
        assert report.steps == 2


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "gptj", "granite"])
def test_the_trunk_is_the_model(kind: str, tokenizer: Any) -> None:
    """With a change in force, losses on the trunk are those of the model with that weight."""
    model = make_model(kind)
    architecture = discover(model)
    block = architecture.blocks[1]
    rows = [in_context(tokenizer, item, "") for item in some_requests()]
    with frozen(model):
        trunk = run_trunk(architecture, rows, 1)
        change_IO = torch.randn(trunk.width_I, trunk.width_O, dtype=torch.float64) / 10
        nll_B = trunk.nll([3, 0, 4, 1], change_IO)
        with torch.no_grad():
            block.weight.add_(change_IO if block.transposed else change_IO.T)
            for place, i in enumerate([3, 0, 4, 1]):
                logp_TV = model(input_ids=torch.tensor([rows[i].ids])).logits[0].log_softmax(-1)
                start = len(rows[i].ids) - rows[i].num_target
                terms = [float(-logp_TV[t - 1, rows[i].ids[t]]) for t in range(start, len(logp_TV))]
                expected = sum(terms) / len(terms)
                assert float(nll_B[place]) == pytest.approx(expected, rel=1e-5), f"row {i}"


def test_order_and_padding_do_not_matter(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same mini-batches whatever the order of requests, bitwise; the same change to rounding
    whatever runs together; another seed is another order."""
    requests = some_requests()
    one = propose(llama, tokenizer, requests)
    other = propose(llama, tokenizer, requests[::-1])
    assert one.delta.digest == other.delta.digest
    assert one.reports == other.reports[::-1]
    monkeypatch.setattr(
        "editors.global_optimization.constrained_fine_tuning.trunk.BUCKET_TOKENS", 1
    )
    alone = propose(llama, tokenizer, requests)
    torch.testing.assert_close(change_of(alone), change_of(one), rtol=1e-4, atol=1e-6)
    seeded = propose(llama, tokenizer, requests, replace(CONFIG, seed=1))
    assert not torch.allclose(change_of(seeded), change_of(one), rtol=1e-2, atol=1e-4)


def test_every_epoch_has_every_row_in_another_order() -> None:
    """A permutation by epoch and seed that depends on the set of names, not on their order."""
    names = [f"row {i}" for i in range(50)]
    orders = [epoch_order(names, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    turned = epoch_order(names[::-1], 0, 0)
    assert [names[::-1][i] for i in turned] == [names[i] for i in orders[0]]


@pytest.mark.parametrize("decay", [0.0, 3.0])
def test_adam_is_torchs(decay: float) -> None:
    """The same steps as torch's AdamW on the same gradients; none on a gradient that is lost."""
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(3, 4, dtype=torch.float64))
    optimiser = torch.optim.AdamW([parameter], lr=0.01, weight_decay=decay)
    training = Training(*torch.zeros(3, 3, 4, dtype=torch.float64))  # type: ignore[arg-type]
    for _ in range(5):
        parameter.grad = torch.randn(3, 4, dtype=torch.float64)
        optimiser.step()
        adam_step(training, parameter.grad, 0.01, decay)
        adam_step(training, parameter.grad * torch.nan, 0.01, decay)
    torch.testing.assert_close(training.change_IO, parameter.detach())
    assert training.steps == 5
