"""The solver equals the dense formula, and the identities of the closed-form family hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editors.local_modification.least_squares import (
    factor,
    leverage,
    memit_factors,
    memit_matrix,
    null_basis,
)
from infra.errors import EditError

torch.manual_seed(0)


def problem(num_edits: int, width: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """K_IE, R_OE and a well-conditioned C_II."""
    generator = torch.Generator().manual_seed(num_edits)
    X_TI = torch.randn(200, width, generator=generator, dtype=torch.float64)
    K_IE = torch.randn(width, num_edits, generator=generator, dtype=torch.float64)
    R_OE = torch.randn(10, num_edits, generator=generator, dtype=torch.float64)
    return K_IE, R_OE, X_TI.T @ X_TI / 200


@pytest.mark.parametrize("num_edits", [1, 5, 40])
@pytest.mark.parametrize("cov_weight", [0.1, 10.0])
def test_equals_the_dense_formula(num_edits: int, cov_weight: float) -> None:
    """D = R Kᵀ (w C + K Kᵀ)⁻¹, also for more edits than features."""
    K_IE, R_OE, C_II = problem(num_edits)
    solution = memit_factors(K_IE, R_OE, factor(C_II, ridge=0), cov_weight=cov_weight)
    dense = R_OE @ K_IE.T @ torch.linalg.inv(cov_weight * C_II + K_IE @ K_IE.T)
    torch.testing.assert_close(solution.left_OE @ solution.right_EI, dense)
    assert solution.left_OE.shape == (10, num_edits) and solution.condition >= 1
    matrix = memit_matrix(K_IE, R_OE, factor(C_II, ridge=0), cov_weight=cov_weight)
    torch.testing.assert_close(matrix.D_OI, dense)
    assert matrix.condition >= 1


def test_gradient_is_zero_at_the_solution() -> None:
    """D minimises ‖D K - R‖² + w tr(D C Dᵀ)."""
    K_IE, R_OE, C_II = problem(5)
    solution = memit_factors(K_IE, R_OE, factor(C_II, ridge=0), cov_weight=2.0)
    D_OI = (solution.left_OE @ solution.right_EI).requires_grad_(True)
    loss = (D_OI @ K_IE - R_OE).square().sum() + 2.0 * (D_OI @ C_II @ D_OI.T).trace()
    (gradient,) = torch.autograd.grad(loss, D_OI)
    assert float(gradient.abs().max()) < 1e-10


def test_one_fact_takes_on_its_share() -> None:
    """One fact receives s / (w + s) of its residual, s its leverage."""
    K_IE, R_OE, C_II = problem(1)
    L_II = factor(C_II, ridge=0)
    s = float(leverage(K_IE, L_II))
    assert s == pytest.approx(float((K_IE.T @ torch.linalg.inv(C_II) @ K_IE)[0, 0]))
    solution = memit_factors(K_IE, R_OE, L_II, cov_weight=0.3 * s)
    torch.testing.assert_close(solution.left_OE @ solution.right_EI @ K_IE, R_OE / 1.3)


def test_emmet_is_memit_with_another_weight() -> None:
    """EMMET (arXiv:2403.14236), D = R (λ_e I + Kᵀ(wC)⁻¹K)⁻¹ Kᵀ(wC)⁻¹, is MEMIT with weight w
    λ_e."""
    K_IE, R_OE, C_II = problem(6)
    U_IE = torch.linalg.solve(3.0 * C_II, K_IE)
    emmet = R_OE @ torch.linalg.solve(0.5 * torch.eye(6).double() + K_IE.T @ U_IE, U_IE.T)
    solution = memit_factors(K_IE, R_OE, factor(C_II, ridge=0), cov_weight=1.5)
    torch.testing.assert_close(solution.left_OE @ solution.right_EI, emmet)


def test_edits_with_no_residual_only_hold_their_place() -> None:
    """A column without residual is a constraint: the answer at its key moves less than without
    it."""
    K_IE, R_OE, C_II = problem(2)
    K_IE[:, 1] = K_IE[:, 0] + 0.1 * K_IE[:, 1]
    R_OE[:, 1] = 0
    L_II = factor(C_II, ridge=0)
    both = memit_factors(K_IE, R_OE, L_II, cov_weight=0.01)
    alone = memit_factors(K_IE[:, :1], R_OE[:, :1], L_II, cov_weight=0.01)
    held = (both.left_OE @ both.right_EI @ K_IE[:, 1]).norm()
    assert held < 0.5 * (alone.left_OE @ alone.right_EI @ K_IE[:, 1]).norm()


def test_refuses_singular_moments() -> None:
    """Fewer tokens than features and no ridge: refused with what to do; a ridge is enough."""
    k_TI = torch.randn(3, 24).double()
    with pytest.raises(EditError, match="more tokens"):
        factor(k_TI.T @ k_TI - 1e-9 * torch.eye(24).double(), ridge=0)
    factor(k_TI.T @ k_TI, ridge=1e-4)


def test_the_null_space_equals_alphaedits_own_form() -> None:
    """R (KᵀBK + I)⁻¹KᵀB with B = QQᵀ/L₂ is Xᵀ of AlphaEdit's (P K Kᵀ + L₂ I) X = P K Rᵀ, P = QQᵀ
    (arXiv:2410.02355), and answers nothing to what is orthogonal to Q."""
    K_IE, R_OE, C_II = problem(4)
    Q_IM = null_basis(C_II, share=0.75)
    assert Q_IM.shape == (24, 18)
    reduced = Q_IM.T @ K_IE
    few = memit_factors(reduced, R_OE, torch.eye(18).double(), cov_weight=3.0)
    found = few.left_OE @ few.right_EI @ Q_IM.T
    P_II = Q_IM @ Q_IM.T
    system_II = P_II @ K_IE @ K_IE.T + 3.0 * torch.eye(24).double()
    torch.testing.assert_close(found, torch.linalg.solve(system_II, P_II @ K_IE @ R_OE.T).T)
    outside = torch.linalg.eigh(C_II)[1][:, -1]
    assert float((found @ outside).norm()) < 1e-10


def test_batch_after_batch_equals_one_joint_solve() -> None:
    """With earlier keys held (columns without residual), two batches end where one solve of both
    from the start does: recursive least squares. Without them they do not."""
    K_IE, R_OE, C_II = problem(10)
    L_II = factor(C_II, ridge=0)

    def solved(K: Tensor, R: Tensor) -> Tensor:
        few = memit_factors(K, R, L_II, cov_weight=2.0)
        return few.left_OE @ few.right_EI

    joint = solved(K_IE, R_OE)
    first = solved(K_IE[:, :6], R_OE[:, :6])
    missing = R_OE[:, 6:] - first @ K_IE[:, 6:]
    held = solved(K_IE, torch.cat([torch.zeros(10, 6).double(), missing], dim=1))
    torch.testing.assert_close(first + held, joint)
    assert not torch.allclose(first + solved(K_IE[:, 6:], missing), joint, rtol=1e-2)
