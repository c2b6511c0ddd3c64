"""What is read off two checkpoints' weights, against dense linear algebra."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from case_helpers import answer_set, value

from infra.lm.question import TextScore
from infra.models.checkpoint import Checkpoint
from pipeline.evaluate.metrics.health import weights

NAMES = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in (1, 2)]
Edited = Callable[..., tuple[Checkpoint, Checkpoint]]


@pytest.fixture()
def edited(checkpoint: Callable[[str], Path], tmp_path: Path) -> Edited:
    """The tiny Llama, and a copy of it with some matrices replaced."""

    def make(**changed: torch.Tensor) -> tuple[Checkpoint, Checkpoint]:
        base = Checkpoint(checkpoint("llama"))
        base.export(tmp_path / "edited", {NAMES[int(k[1:])]: t for k, t in changed.items()})
        return base, Checkpoint(tmp_path / "edited")

    return make


def matrix(base: Path, name: str) -> torch.Tensor:
    return Checkpoint(base).tensor(name)


def spike(shape: torch.Size, rank: int, size: float) -> torch.Tensor:
    """A matrix of a few equal singular values, each far above a tiny model's."""
    torch.manual_seed(rank)
    u, v = (torch.linalg.qr(torch.randn(n, rank))[0] for n in shape)
    return size * u @ v.T


def test_ratios_are_of_the_worst_matrix(checkpoint: Callable[[str], Path], edited: Edited) -> None:
    """Frobenius and spectral norms as torch has them; of two edited matrices the greatest ratio."""
    before = [matrix(checkpoint("llama"), name) for name in NAMES]
    after = [
        before[0] + spike(before[0].shape, 2, 20.0),
        before[1] + spike(before[1].shape, 1, 5.0),
    ]
    made = weights.monitors(*edited(_0=after[0], _1=after[1]), NAMES)
    pairs = [(a.double(), b.double()) for a, b in zip(after, before, strict=True)]
    frobenius = max(float(a.norm() / b.norm()) for a, b in pairs)
    spectral = max(float(two_norm(a) / two_norm(b)) for a, b in pairs)
    assert made["norm_ratio"].value == pytest.approx(frobenius, rel=1e-9) and frobenius > 1.5
    assert made["spectral_ratio"].value == pytest.approx(spectral, rel=0.02)
    assert (made["non_finite"].value, made["norm_ratio"].n) == (0, 2)


def two_norm(m: torch.Tensor) -> torch.Tensor:
    return torch.linalg.matrix_norm(m, 2)


def test_power_iteration_finds_the_greatest_singular_value() -> None:
    """Of wide, tall and rank-one matrices; never above it; 0 of zeros."""
    for rows, columns in ((40, 30), (30, 60), (1, 8), (8, 1)):
        torch.manual_seed(rows)
        m = torch.randn(rows, columns, dtype=torch.float64)
        found, true = weights.spectral_norm(m), float(two_norm(m))
        assert true * 0.98 <= found <= true * (1 + 1e-12)
    assert weights.spectral_norm(torch.zeros(3, 4)) == 0


def test_a_matrix_that_shrinks_is_as_far_off_as_one_that_grows(
    checkpoint: Callable[[str], Path], edited: Edited
) -> None:
    """Half the norm is a ratio of 2; one that is wiped out is infinitely far off."""
    before = matrix(checkpoint("llama"), NAMES[0])
    made = weights.monitors(*edited(_0=before / 2), NAMES[:1])
    assert made["norm_ratio"].value == pytest.approx(2)
    assert made["spectral_ratio"].value == pytest.approx(0.5)
    made = weights.monitors(*edited(_0=before * 0), NAMES[:1])
    assert made["norm_ratio"].value == math.inf


def test_effective_rank_is_the_entropy_of_singular_values(
    checkpoint: Callable[[str], Path], edited: Edited
) -> None:
    """exp of the entropy from a full SVD; k equal singular values have rank k, a change of nothing
    0."""
    before = matrix(checkpoint("llama"), NAMES[0])
    torch.manual_seed(3)
    after = before + torch.randn(before.shape[0], 5) @ torch.randn(5, before.shape[1])
    made = weights.monitors(*edited(_0=after), NAMES[:1])
    sigma = torch.linalg.svdvals(after.double() - before.double())
    p = sigma / sigma.sum()
    entropy = -sum(float(x) * math.log(float(x)) for x in p if x > 0)
    assert made["effective_rank"].value == pytest.approx(math.exp(entropy), rel=1e-4)
    for shape in ((20, 30), (30, 20)):
        equal = spike(torch.Size(shape), 4, 1.0).double()
        assert weights.effective_rank(equal) == pytest.approx(4, rel=1e-4)
    unchanged = weights.monitors(*edited(), NAMES)
    assert unchanged["effective_rank"].value == 0
    assert unchanged["norm_ratio"].value == unchanged["spectral_ratio"].value == 1


def test_values_that_are_not_finite_are_counted(
    checkpoint: Callable[[str], Path], edited: Edited
) -> None:
    """Over all matrices, and a broken matrix does not hide behind the ratios of a sound one."""
    broken = [matrix(checkpoint("llama"), name).clone() for name in NAMES]
    broken[0][0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    broken[1][2, 2] = math.nan
    made = weights.monitors(*edited(_0=broken[0], _1=broken[1]), NAMES)
    assert (made["non_finite"].value, made["non_finite"].n) == (4, 2)
    assert "norm_ratio" not in made and "effective_rank" not in made


def test_nothing_edited_gives_no_numbers(edited: Edited) -> None:
    """Not perfect ones."""
    assert not weights.monitors(*edited(), [])


def test_energy_is_over_the_texts_that_have_one() -> None:
    """Texts read without a reference are left out."""
    texts = {
        f"window/{i}": TextScore(id="", nll=1.0, kl=None, energy=energy, num_tokens=1)
        for i, energy in enumerate((0.1, 0.3, None))
    }
    made = weights.score(answer_set({}, texts=texts))
    assert value(made, "energy") == pytest.approx(0.2)
