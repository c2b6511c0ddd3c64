"""Values spread over layers (MEMIT, arXiv:2210.07229 section 4.3): columns of keys and wanted
hidden states in, a change of every edited projection out.

Each layer in ascending order, on the model already modified below, takes its share of what is still
missing at the last edited layer L:

    D_l = R_l Kᵀ (w C_l + K Kᵀ)⁻¹
    R_l = (z - h_L) / (layers left),   w = ratio * median_i k_iᵀ C_l⁻¹ k_i

The weight w of the corpus follows the keys, never an absolute constant: a lone fact takes on the
fraction 1 / (1 + ratio) of its share at every layer, whatever the model's width. K has a column for
every fact in every context, each with what was optimised there, its own h + δ; MEMIT's one averaged
key is none of the keys that occur, and its edit reaches none of them in full.

C: facts times contexts. E: facts. I: width of a key. O: hidden size. D: hidden size at L. M: width
of the null space of ordinary keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from editors.deltas.delta import Delta
from editors.deltas.weights import Dense, LowRank, WeightChange, WeightPart
from editors.editor import Progress
from editors.internals.architecture import Architecture
from editors.internals.carry import Carry
from editors.internals.forward import changed, work_dtype
from editors.local_modification import least_squares
from editors.statistics.key_moments import Statistics
from editors.values.columns import Column

Solve = Callable[[Tensor, Tensor, Tensor], tuple[WeightChange, float]]
"""From keys K_IC, residuals R_OC and the corpus's second moment C_II, float64, to one layer's
change [O, I] and the condition number of its system."""


def spread(
    architecture: Architecture,
    layers: Sequence[int],
    columns: Sequence[Column],
    live: Sequence[Column],
    statistics: Statistics,
    solve: Solve,
    progress: Progress,
) -> tuple[Delta, dict[str, float]]:
    """Solve the layers in ascending order, each with the changes below it in force.

    columns  requests with a value each; live  requests whose keys are to stay where they are

    Returns the delta, empty without columns, and condition numbers by parameter name. The model is
    as before when this returns or raises.
    """
    if not columns:
        return Delta(), {}
    rows = [row for column in (*columns, *live) for row in column.keys]
    carry = Carry(architecture, rows, layers[0], layers[-1])
    Z_CD = torch.zeros(0)
    parts: list[WeightPart] = []
    conditions: dict[str, float] = {}
    with ExitStack() as changes:
        for i, layer in enumerate(layers):
            block = architecture.blocks[layer]
            carry.advance(layer)
            K_IC, site_CD = carry.look()
            dtype, K_IC = work_dtype(site_CD.dtype), K_IC.double()
            site_CD = site_CD.double()
            if i == 0:
                Z_CD = wanted_states(columns, site_CD)
            R_OC = (Z_CD - site_CD).T / (len(layers) - i) / (block.gain or 1)
            change, condition = solve(K_IC, R_OC, statistics.moment(layer))
            change_IO = change.dense().T.to(K_IC.device, dtype)
            changes.enter_context(changed(block.projection, change_IO))
            change = change.transposed() if block.transposed else change
            parts.append(WeightPart(block.name, change))
            conditions[block.name] = condition
            progress("solve", i + 1, len(layers))
    return Delta(tuple(parts)), conditions


def layer_change(
    K_IC: Tensor,
    R_OC: Tensor,
    moment_II: Tensor,
    *,
    cov_ratio: float,
    ridge: float,
    null_space: float,
) -> tuple[WeightChange, float]:
    """One layer's change [O, I], factors or matrix, whichever is smaller, and its condition number.

    cov_ratio   weight of the corpus, in the median leverage of the keys
    ridge       what is added to the moment, over its median diagonal entry
    null_space  share of the directions of least energy in the moment that the change is confined
                to, as in AlphaEdit (arXiv:2410.02355); 1 is MEMIT
    """
    Q_IM = None
    if null_space < 1:
        Q_IM = least_squares.null_basis(moment_II.to(K_IC.device), share=null_space)
        K_IC = Q_IM.T @ K_IC
        L_II = torch.eye(len(K_IC)).to(K_IC)
    else:
        L_II = least_squares.factor(moment_II.to(K_IC.device), ridge=ridge)
    weight = cov_ratio * float(least_squares.leverage(K_IC, L_II).median())
    width_O, width_I, num_columns = len(R_OC), len(moment_II), K_IC.shape[1]
    if num_columns * (width_O + width_I) < width_O * width_I:
        few = least_squares.memit_factors(K_IC, R_OC, L_II, cov_weight=weight)
        right_EI = few.right_EI if Q_IM is None else few.right_EI @ Q_IM.T
        return LowRank(few.left_OE.float().cpu(), right_EI.float().cpu()), few.condition
    many = least_squares.memit_matrix(K_IC, R_OC, L_II, cov_weight=weight)
    D_OI = many.D_OI if Q_IM is None else many.D_OI @ Q_IM.T
    return Dense(D_OI.float().cpu()), many.condition


def wanted_states(columns: Sequence[Column], site_CD: Tensor) -> Tensor:
    """Every row's own h + δ, [C, D]: δ is what was found for the bare row, the first of a fact.
    Rows behind those of the columns stay where they are."""
    num_E = torch.tensor([len(column.keys) for column in columns], device=site_CD.device)
    num_new = int(num_E.sum())
    Z_ED = torch.stack([c.value.z_D for c in columns if c.value]).to(site_CD)
    delta_CD = (Z_ED - site_CD[num_E.cumsum(0) - num_E]).repeat_interleave(num_E, dim=0)
    return torch.cat([site_CD[:num_new] + delta_CD, site_CD[num_new:]])
