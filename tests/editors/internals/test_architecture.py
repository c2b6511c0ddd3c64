"""Discovery finds the projection of every supported architecture and refuses the others by name."""

from __future__ import annotations

import pytest
import torch
from tiny_models import KINDS, NORMALISED, SIZES, STATEFUL, make_model
from transformers import AutoConfig, AutoModelForCausalLM, T5Config, T5ForConditionalGeneration

from editors.internals.discover import discover
from infra.errors import ModelError


@pytest.mark.parametrize("kind", [*KINDS, *STATEFUL])
def test_finds_the_mlp_projection_and_its_gain(kind: str) -> None:
    """Every block: weight maps inner size to hidden size, gain 1 (Granite 0.3, post-norm None)."""
    model = make_model(kind)
    architecture = discover(model)
    d = architecture.model.get_input_embeddings().weight.shape[1]
    assert [block.index for block in architecture.blocks] == list(range(4))
    for block in architecture.blocks:
        assert dict(model.named_parameters())[block.name] is block.weight
        assert block.weight.shape[1 if block.transposed else 0] == d
        assert not any(word in block.name for word in ("attn", "attention"))
        expected = None if kind in NORMALISED else 0.3 if kind == "granite" else 1.0
        assert block.gain == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("kind", [*KINDS, *STATEFUL])
def test_head_on_hidden_states_equals_the_model(kind: str) -> None:
    """Decoder, then head: the model's own logits, with scale, soft cap and padding."""
    model = make_model(kind)
    architecture = discover(model)
    ids = torch.tensor([[5, 6, 7, 0, 0], [9, 8, 7, 6, 5]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    with torch.no_grad():
        found = architecture.logits(architecture.hidden(ids, mask)[[0, 1], [2, 4]])
        alone = model(input_ids=ids[:1, :3]).logits[0, -1]
        full = model(input_ids=ids[1:]).logits[0, -1]
    near = 1e-5 if kind in STATEFUL else 1e-9  # states are float32 whatever the model's dtype
    torch.testing.assert_close(found, torch.stack([alone, full]), rtol=near, atol=near)


def test_discovery_leaves_the_model_as_it_was() -> None:
    """Training mode, gradients and hooks are put back."""
    model = make_model("llama").train()
    discover(model)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_bfloat16_is_linear_within_its_rounding() -> None:
    """Rounding of a half-precision model is not taken for a normalised MLP."""
    assert {block.gain for block in discover(make_model("llama", torch.bfloat16)).blocks} == {1.0}


def test_refuses_experts() -> None:
    """Routed experts are named as the reason."""
    config = AutoConfig.for_model("mixtral", **SIZES, num_local_experts=2)
    with pytest.raises(ModelError, match="experts"):
        discover(AutoModelForCausalLM.from_config(config))


def test_refuses_encoder_decoders() -> None:
    """An encoder-decoder is named as the reason."""
    config = T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    with pytest.raises(ModelError, match="encoder-decoder"):
        discover(T5ForConditionalGeneration(config))


def test_refuses_blocks_without_an_mlp() -> None:
    """A block whose only linear modules are attention's has nothing to edit."""
    model = make_model("llama")
    for layer in model.model.layers:
        layer.mlp = torch.nn.Identity()
    with pytest.raises(ModelError, match="no MLP"):
        discover(model)


def test_refuses_quantised_models() -> None:
    """Quantised weights: edit the base first."""
    model = make_model("llama")
    model.config.quantization_config = {"quant_method": "gguf"}
    with pytest.raises(ModelError, match="quantised"):
        discover(model)


def test_refuses_a_projection_that_does_more() -> None:
    """An adapter around the weight would make the closed form wrong."""

    class Adapted(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 1.5 * super().forward(input)

    model = make_model("llama")
    adapted = Adapted(48, 32, bias=False).double()
    model.model.layers[2].mlp.down_proj = adapted
    with pytest.raises(ModelError, match="merge"):
        discover(model)
