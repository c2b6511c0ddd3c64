"""Models with the shape of a published model and random weights, to measure speed but not
quality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3-8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    }
}
"""Name -> settings of a model of the Llama architecture, from its published config.json."""


def shape_of(name: str, hidden: int | None = None) -> LlamaConfig:
    """The config of a shape.

    name    a key of `SHAPES`, or the path of a config.json
    hidden  width that the shape is narrowed to; None leaves it as it is
    """
    content = SHAPES.get(name) or json.loads(Path(name).read_text(encoding="utf-8"))
    if hidden:
        heads = max(1, hidden // 16)
        content = content | {
            "hidden_size": hidden,
            "intermediate_size": hidden * content["intermediate_size"] // content["hidden_size"],
            "num_attention_heads": heads,
            "num_key_value_heads": max(1, heads // 4),
            "head_dim": hidden // heads,
        }
    return LlamaConfig(**content, tie_word_embeddings=False)


def random_model(config: LlamaConfig, *, dtype: torch.dtype, device: str, seed: int = 0) -> Any:
    """A model of this shape with random weights, created on the device, in eval mode and without
    gradients."""
    torch.manual_seed(seed)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.eval().requires_grad_(False)
