"""Closed-form least squares: the change of a weight that maps given keys to given residuals.

All in float64. Axes: I width of the key (inner MLP size), O width of the value (hidden size),
E edits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from infra.errors import EditError


class Factors(NamedTuple):
    """D = left_OE right_EI."""

    left_OE: Tensor
    right_EI: Tensor
    condition: float
    """Condition number of the E x E system that was solved."""


class Matrix(NamedTuple):
    """D itself."""

    D_OI: Tensor
    condition: float
    """Condition number of the I x I system that was solved, from its Cholesky factor's diagonal: a
    lower bound."""


def factor(C_II: Tensor, *, ridge: float) -> Tensor:
    """Lower Cholesky factor of C + ridge * median(diag C) * I, float64.

    The median diagonal entry gives the scale: a few massive activations move the trace, not it.
    Raises EditError when the matrix is not positive definite even so.
    """
    C_II = C_II.double()
    scale = C_II.diagonal().median()
    L_II, info = torch.linalg.cholesky_ex(C_II + ridge * scale * torch.eye(len(C_II)).to(C_II))
    if int(info) or not float(scale) > 0:
        raise EditError(
            f"the second moments of {len(C_II)} features are not positive definite: gather "
            f"statistics over more tokens or raise ridge={ridge}."
        )
    return L_II


def leverage(K_IE: Tensor, L_II: Tensor) -> Tensor:
    """s_i = k_iᵀ C⁻¹ k_i, [E]: how unusual a key is among the corpus's; I on average over it."""
    return torch.linalg.solve_triangular(L_II, K_IE.double(), upper=False).square().sum(dim=0)


def memit_factors(K_IE: Tensor, R_OE: Tensor, L_II: Tensor, *, cov_weight: float) -> Factors:
    """MEMIT (arXiv:2210.07229) eq. 14:  D = R Kᵀ (w C + K Kᵀ)⁻¹,  C = L Lᵀ,  for few edits.

    By Woodbury with U = (w C)⁻¹ K:  D = R (I + Kᵀ U)⁻¹ Uᵀ, so that only an E x E system is solved
    and the factors have rank E. One fact receives the fraction s / (w + s) of its residual.
    """
    K_IE, R_OE = K_IE.double(), R_OE.double()
    U_IE = torch.cholesky_solve(K_IE, L_II) / cov_weight
    G_EE = torch.eye(K_IE.shape[1]).to(K_IE) + K_IE.T @ U_IE
    G_EE = (G_EE + G_EE.T) / 2
    eigenvalues = torch.linalg.eigvalsh(G_EE)
    left_OE = torch.cholesky_solve(R_OE.T, torch.linalg.cholesky(G_EE)).T
    return Factors(left_OE, U_IE.T, float(eigenvalues[-1] / eigenvalues[0]))


def memit_matrix(K_IE: Tensor, R_OE: Tensor, L_II: Tensor, *, cov_weight: float) -> Matrix:
    """The same D for many edits: the I x I system is solved as it stands."""
    K_IE, R_OE = K_IE.double(), R_OE.double()
    A_II = torch.addmm(cov_weight * (L_II @ L_II.T), K_IE, K_IE.T)
    F_II = torch.linalg.cholesky(A_II)
    diagonal = F_II.diagonal()
    D_OI = torch.cholesky_solve(K_IE @ R_OE.T, F_II).T
    return Matrix(D_OI, float((diagonal.max() / diagonal.min()) ** 2))


def null_basis(C_II: Tensor, *, share: float) -> Tensor:
    """Q_IM: orthonormal directions of least energy in C, the `share` of all, (0, 1], float64.

    AlphaEdit (arXiv:2410.02355) edits in their span only: D = D' Qᵀ, with D' solved for the keys
    Qᵀ K and the identity in place of C. A threshold on eigenvalues would mean another share in
    every model.
    """
    _, vectors_II = torch.linalg.eigh(C_II.double())  # ascending
    return vectors_II[:, : max(1, round(share * len(C_II)))]
