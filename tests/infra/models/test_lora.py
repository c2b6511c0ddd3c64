"""An adapter says what the edited weights say, here and as PEFT itself loads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infra.models.loading import load
from infra.models.lora import CONFIG, AttachAdapter, write_adapter

MODULES = {
    "llama": ("model.layers.{}.mlp.down_proj", False),
    "gpt2": ("transformer.h.{}.mlp.c_proj", True),
}


def change(model: Any, kind: str) -> tuple[dict[str, tuple[Tensor, Tensor]], bool]:
    """Random factors of rank 3 and 5 for two layers."""
    name, transposed = MODULES[kind]
    generator = torch.Generator().manual_seed(0)
    factors = {}
    for layer, rank in ((1, 3), (2, 5)):
        shape = model.get_submodule(name.format(layer)).weight.shape
        outs, ins = shape[::-1] if transposed else shape
        a = torch.randn(rank, ins, generator=generator) * 0.1
        b = torch.randn(outs, rank, generator=generator) * 0.1
        factors[name.format(layer)] = (a, b)
    return factors, transposed


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")  # of what PEFT calls there
@pytest.mark.parametrize("kind", MODULES)
def test_the_adapter_is_the_edit(
    kind: str, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Base + adapter, by our hook and by PEFT, equals the weights with B·A added; layers of
    different rank are padded to one that servers allow."""
    peft = pytest.importorskip("peft")
    path = checkpoint(kind)
    edited, _ = load(path, dtype=torch.float32)
    factors, transposed = change(edited, kind)
    rank = write_adapter(
        tmp_path, factors, base=str(path), transposed=transposed, dtype=torch.float32
    )
    assert rank == 8 == json.loads((tmp_path / CONFIG).read_text())["r"]
    with torch.no_grad():
        for name, (a, b) in factors.items():
            edited.get_submodule(name).weight.add_((b @ a).T if transposed else b @ a)
    ids = torch.tensor([[5, 6, 7, 8]])
    base, _ = load(path, dtype=torch.float32)
    before = base(input_ids=ids).logits
    ours, _ = load(path, dtype=torch.float32)
    AttachAdapter(tmp_path)(ours, None)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path)
    expected = edited(input_ids=ids).logits
    assert not torch.allclose(expected, before, atol=1e-2)
    for model in (ours, theirs):
        torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_no_server_takes_every_rank(tmp_path: Path) -> None:
    """Beyond 512 there is no adapter, nor of no change."""
    wide = {"x": (torch.zeros(513, 4), torch.zeros(4, 513))}
    for factors in (wide, {}):
        with pytest.raises(ValueError, match="rank"):
            write_adapter(tmp_path, factors, base="b", transposed=False, dtype=torch.float32)
