"""Deltas apply, restore bitwise, add up, and survive a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from editors_helpers import changes, request
from tiny_models import make_model
from torch import Tensor

from editors.deltas.codebook import Codebook, Record
from editors.deltas.delta import Delta
from editors.deltas.weights import Dense, LowRank, WeightChange, WeightPart
from infra.errors import EditError
from infra.files.digest import file_digest

NAME = "model.layers.1.mlp.down_proj.weight"


def random_factors(rank: int = 3, seed: int = 0) -> LowRank:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(32, rank, generator=generator)
    return LowRank(left, torch.randn(rank, 48, generator=generator))


def one_change(change: WeightChange, name: str = NAME) -> Delta:
    return Delta((WeightPart(name, change),))


def random_delta(rank: int = 3, seed: int = 0) -> Delta:
    return one_change(random_factors(rank, seed))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_apply_then_restore_is_bitwise(dtype: torch.dtype) -> None:
    """Applied: W + left @ right, computed in float32 or better and cast once. Restored: bitwise."""
    model = make_model("llama", dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    factors = random_factors()
    undo = one_change(factors).apply_(model)
    expected = before[NAME].double() + factors.left.double() @ factors.right.double()
    changed = model.state_dict()
    eps = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps * (dtype != torch.float64))
    torch.testing.assert_close(
        changed[NAME].double(), expected, rtol=0, atol=8 * eps * float(expected.abs().max())
    )
    assert [n for n in before if not torch.equal(before[n], changed[n])] == [NAME]
    undo.close()
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
    torch.testing.assert_close(
        changes(both)[NAME].dense(), changes(one)[NAME].dense() + changes(two)[NAME].dense()
    )
    assert changes(both)[NAME].rank == 5


def test_the_smaller_form_is_the_same_change(llama: Any, tmp_path: Path) -> None:
    """Factors of a high rank become a matrix; sums, files and weights agree with the factors."""
    many = random_factors(rank=40)
    dense = many.smallest()
    assert isinstance(dense, Dense) and isinstance(random_factors().smallest(), LowRank)
    torch.testing.assert_close(dense.dense(), many.dense())
    both = one_change(dense).concatenate(random_delta())
    torch.testing.assert_close(changes(both)[NAME].dense(), many.dense() + random_factors().dense())
    both.save(tmp_path / "d.safetensors")
    loaded = Delta.load(tmp_path / "d.safetensors")
    assert loaded.digest == both.digest
    before = llama.state_dict()[NAME].clone()
    with loaded.applied(llama):
        changed = llama.state_dict()[NAME] - before
    torch.testing.assert_close(changed.float(), changes(both)[NAME].dense())
    assert torch.equal(before, llama.state_dict()[NAME])
    with pytest.raises(EditError, match="float32"):
        Dense(dense.dense().double())


def test_file_keeps_every_bit(tmp_path: Path) -> None:
    """Load gives back the same digest; another delta has another digest."""
    delta = random_delta()
    delta.save(tmp_path / "delta.safetensors", {"note": "x"})
    loaded = Delta.load(tmp_path / "delta.safetensors")
    assert loaded.digest == delta.digest != random_delta(seed=9).digest
    assert torch.equal(changes(loaded)[NAME].dense(), changes(delta)[NAME].dense())


def ramp(*shape: int) -> Tensor:
    """Eighths, from -1 on: the same float32 numbers everywhere."""
    return (torch.arange(torch.Size(shape).numel(), dtype=torch.float32) / 8 - 1).reshape(shape)


def stored_deltas() -> dict[str, Delta]:
    """Fixed deltas whose digests and files are known."""
    module = NAME.removesuffix(".weight")
    factors = WeightPart(NAME, LowRank(ramp(4, 2), ramp(2, 3)))
    records = [
        Record(
            replace(
                request(f"Prompt {i} is", "Prompt", f"target {i}", name=str(i)),
                old_targets=("old",),
            ),
            (i, 7),
            ramp(3) * (i + 1),
            ramp(4) + i,
            1.5,
        )
        for i in range(3)
    ]
    dense = WeightPart(NAME.replace("1", "0"), Dense(ramp(3, 5)))
    return {
        "empty": Delta(),
        "weights": Delta((factors, dense)),
        "codebook": Delta((factors, Codebook(module).extended(records))),
    }


@pytest.mark.parametrize(
    ("name", "digest", "file"),
    [
        (
            "empty",
            "a50385061b43b7452e3f869f19ddfb4cfd5994d68d7cef3ebb6f38b119377196",
            "884231bb89c9750a6e85b3beeccfdc028995ac282ff46fea0e3466b05461db30",
        ),
        (
            "weights",
            "0fff691a07a6940873048bb2583dd55cdcde5d30b73900b536c1356d39bc7dd8",
            "6391d963801e8a7c8ee98e3be5342bb2cfc3fc7abcf08ae62554e106ae441ac2",
        ),
        (
            "codebook",
            "cf56236ac67502b5f4acdd0542aad0df296b4e892011133c49f71a510a95666a",
            "c1a07982d41c7228c5cc9ef7b0951d6bb562c34a6224483a95fad8c366eee3a8",
        ),
    ],
)
def test_format_1_keeps_its_bytes(name: str, digest: str, file: str, tmp_path: Path) -> None:
    """Digest and file of fixed deltas are what they were when deltas held factors and codebooks by
    name: old files stay readable and ids of releases do not move."""
    delta, path = stored_deltas()[name], tmp_path / "delta.safetensors"
    delta.save(path)
    assert (delta.digest, file_digest(path)) == (digest, file)
    assert Delta.load(path).digest == digest


def test_refuses_what_does_not_fit(llama: Any, tmp_path: Path) -> None:
    """A wrong name, shape, dtype or file is refused before anything is written."""
    before = llama.state_dict()[NAME].clone()
    factor = random_factors()
    with pytest.raises(EditError, match="lacks"):
        random_delta().concatenate(one_change(factor, "model.absent")).apply_(llama)
    with pytest.raises(EditError, match="another model"):
        one_change(factor.transposed()).apply_(llama)
    assert torch.equal(before, llama.state_dict()[NAME])
    with pytest.raises(EditError, match="float32"):
        LowRank(factor.left.double(), factor.right.double())
    with pytest.raises(EditError, match="multiply"):
        LowRank(factor.left, factor.left)
    with pytest.raises(EditError, match="different models"):
        random_delta().concatenate(one_change(factor.transposed()))
    (tmp_path / "bad").write_bytes(b"not safetensors")
    with pytest.raises(EditError, match="cannot be read"):
        Delta.load(tmp_path / "bad")
