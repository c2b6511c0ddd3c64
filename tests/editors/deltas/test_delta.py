"""Deltas apply, restore bitwise, add up, and survive a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_model

from editors.deltas.delta import Delta, restore_
from editors.deltas.weights import Dense, LowRank
from infra.errors import EditError

NAME = "model.layers.1.mlp.down_proj.weight"


def random_factors(rank: int = 3, seed: int = 0) -> LowRank:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(32, rank, generator=generator)
    return LowRank(left, torch.randn(rank, 48, generator=generator))


def random_delta(rank: int = 3, seed: int = 0) -> Delta:
    return Delta({NAME: random_factors(rank, seed)})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_apply_then_restore_is_bitwise(dtype: torch.dtype) -> None:
    """Applied: W + left @ right, computed in float32 or better and cast once. Restored: bitwise."""
    model = make_model("llama", dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    factors = random_factors()
    delta = Delta({NAME: factors})
    originals = delta.apply_(model)
    expected = before[NAME].double() + factors.left.double() @ factors.right.double()
    changed = model.state_dict()
    eps = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps * (dtype != torch.float64))
    torch.testing.assert_close(
        changed[NAME].double(), expected, rtol=0, atol=8 * eps * float(expected.abs().max())
    )
    assert [n for n in before if not torch.equal(before[n], changed[n])] == [NAME]
    restore_(model, originals)
    assert all(torch.equal(before[n], value) for n, value in model.state_dict().items())


def test_applied_restores_after_an_exception(llama: Any) -> None:
    """The context manager puts weights back whatever happens inside."""
    before = llama.state_dict()[NAME].clone()
    with pytest.raises(RuntimeError), random_delta().applied(llama):
        assert not torch.equal(before, llama.state_dict()[NAME])
        raise RuntimeError
    assert torch.equal(before, llama.state_dict()[NAME])


def test_concatenate_is_the_sum() -> None:
    """Dense of the concatenation equals the sum of dense parts."""
    one, two = random_delta(seed=1), random_delta(rank=2, seed=2)
    both = one.concatenate(two, Delta())
    torch.testing.assert_close(both.dense(NAME), one.dense(NAME) + two.dense(NAME))
    assert both.factors[NAME].rank == 5


def test_the_smaller_form_is_the_same_change(llama: Any, tmp_path: Path) -> None:
    """Factors of a high rank become a matrix; sums, files and weights agree with the factors."""
    many = random_factors(rank=40)
    dense = many.smallest()
    assert isinstance(dense, Dense) and isinstance(random_factors().smallest(), LowRank)
    torch.testing.assert_close(dense.dense(), many.dense())
    both = Delta({NAME: dense}).concatenate(random_delta())
    torch.testing.assert_close(both.dense(NAME), many.dense() + random_factors().dense())
    both.save(tmp_path / "d.safetensors")
    loaded = Delta.load(tmp_path / "d.safetensors")
    assert loaded.digest == both.digest
    before = llama.state_dict()[NAME].clone()
    with loaded.applied(llama):
        changed = llama.state_dict()[NAME] - before
    torch.testing.assert_close(changed.float(), both.dense(NAME))
    assert torch.equal(before, llama.state_dict()[NAME])
    with pytest.raises(EditError, match="float32"):
        Dense(dense.dense().double())


def test_file_keeps_every_bit(tmp_path: Path) -> None:
    """Load gives back the same digest; another delta has another digest."""
    delta = random_delta()
    delta.save(tmp_path / "delta.safetensors", {"note": "x"})
    loaded = Delta.load(tmp_path / "delta.safetensors")
    assert loaded.digest == delta.digest != random_delta(seed=9).digest
    assert torch.equal(loaded.dense(NAME), delta.dense(NAME))


def test_refuses_what_does_not_fit(llama: Any, tmp_path: Path) -> None:
    """A wrong name, shape, dtype or file is refused before anything is written."""
    before = llama.state_dict()[NAME].clone()
    factor = random_factors()
    with pytest.raises(EditError, match="lacks"):
        Delta({NAME: factor, "model.absent": factor}).apply_(llama)
    with pytest.raises(EditError, match="another model"):
        Delta({NAME: LowRank(factor.right.T, factor.left.T)}).apply_(llama)
    assert torch.equal(before, llama.state_dict()[NAME])
    with pytest.raises(EditError, match="float32"):
        LowRank(factor.left.double(), factor.right.double())
    with pytest.raises(EditError, match="multiply"):
        LowRank(factor.left, factor.left)
    with pytest.raises(EditError, match="different models"):
        random_delta().concatenate(Delta({NAME: LowRank(factor.right.T, factor.left.T)}))
    (tmp_path / "bad").write_bytes(b"not safetensors")
    with pytest.raises(EditError, match="cannot be read"):
        Delta.load(tmp_path / "bad")
