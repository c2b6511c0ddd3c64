"""Write a low-rank change of a model as a LoRA adapter in PEFT's format, and attach an adapter.

ΔW = B·A exactly: `lora_alpha` is the rank, so nothing is scaled. Servers allow few ranks and one
for all layers (vLLM's `max_lora_rank`), so every layer is padded with zeros to the next of them.
PEFT itself writes adapters of models that it wrapped and trained; the tests read ours with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from infra.files.atomic import write_json
from infra.files.tensors import save_tensors

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM accepts as `max_lora_rank`."""
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PREFIX = "base_model.model."
"""PEFT writes it before the name of every module."""

Factors = Mapping[str, tuple[Tensor, Tensor]]
"""Module name -> A [r, in] and B [out, r], float32."""


def serving_rank(factors: Factors) -> int | None:
    """The smallest of `RANKS` that all factors fit into; None where they fit into none."""
    widest = max(len(a) for a, _ in factors.values())
    return next((rank for rank in RANKS if rank >= widest), None)


def write_adapter(
    path: Path, factors: Factors, *, base: str | None, transposed: bool, dtype: torch.dtype
) -> int:
    """Write the adapter's directory, and return the rank of its factors.

    base        hub id of the model that is adapted, as PEFT records it; None where it has none
    transposed  whether the base stores these weights [in, out] (GPT-2's Conv1D)
    dtype       of the stored factors

    Raises ValueError where there are no factors or their rank is above the last of `RANKS`.
    """
    rank = serving_rank(factors) if factors else None
    if rank is None:
        raise ValueError(f"an adapter has a rank of 1 to {RANKS[-1]}")
    tensors = {}
    for module, (a, b) in factors.items():
        missing = rank - len(a)
        tensors[f"{PREFIX}{module}.lora_A.weight"] = F.pad(a, (0, 0, 0, missing)).to(dtype)
        tensors[f"{PREFIX}{module}.lora_B.weight"] = F.pad(b, (0, missing)).to(dtype)
    path.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_tensors(whole, path / WEIGHTS, {"format": "pt"})
    write_json(
        path / CONFIG,
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": rank,
            "lora_alpha": rank,
            "lora_dropout": 0.0,
            "bias": "none",
            "use_rslora": False,
            "fan_in_fan_out": transposed,
            "inference_mode": True,
            "target_modules": sorted(factors),
        },
    )
    return rank


@dataclass(frozen=True)
class AttachAdapter:
    """Attaches a LoRA adapter to a model as a server does: beside the weights, in their dtype."""

    path: Path
    """Directory of the adapter."""

    def __call__(self, model: Any, tokenizer: Any) -> Any:
        """Attach the adapter to `model`, in place; the tokenizer as it was given.

        Raises KeyError where the adapter names a module that the model does not have.
        """
        config = json.loads((self.path / CONFIG).read_text(encoding="utf-8"))
        scale = config["lora_alpha"] / config["r"]
        tensors = load_file(self.path / WEIGHTS)
        modules = dict(model.named_modules())
        for name in config["target_modules"]:
            module = modules[name]
            weight = module.weight
            a, b = (
                tensors[f"{PREFIX}{name}.lora_{side}.weight"].to(weight.device, weight.dtype)
                for side in "AB"
            )
            module.register_forward_hook(_add(a, b * scale))
        return tokenizer


def _add(a: Tensor, b: Tensor) -> Any:
    """A forward hook that adds B·A·x to the output of a module with the input x."""

    def hook(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + F.linear(F.linear(inputs[0], a), b)

    return hook
