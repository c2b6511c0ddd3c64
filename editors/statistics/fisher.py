"""How strongly a shift of the hidden state at a site changes the model's predictions on ordinary
text: the Fisher information.

    G = E[g gᵀ],   g = ∂/∂h_t Σ_s log p(y_s | text before s),   y_s drawn from the model itself

so that δᵀ G δ / 2 is, to second order, the KL divergence that a small shift δ of every token's
state causes. An edit reaches other text as a small share of its δ, whatever the solve does; a δ
that is long only where G is small does no harm there. D: hidden size. T: tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from editors.internals.architecture import Architecture
from editors.internals.forward import leaf_output, work_dtype
from editors.internals.tokens import batched, pad
from infra.distributed.group import SINGLE_PROCESS, Group

BATCH_TOKENS = 1024


def fisher(
    architecture: Architecture,
    rows: Sequence[Sequence[int]],
    layer: int,
    *,
    num_front: int = 0,
    group: Group = SINGLE_PROCESS,
) -> tuple[Tensor, int]:
    """Σ g gᵀ [D, D] over all tokens of the rows but each one's first, and how many those are.

    The site is where values live: the block's output, or its projection's where the block
    normalises it. y is drawn by a generator seeded with the row, so neither batch nor order
    matters. Use it with a frozen model. The first token is left out, or, where the tokenizer puts
    `num_front` tokens in front of a text, all of these: their massive activations drown all others,
    and no edit reaches them.
    """
    block = architecture.blocks[layer]
    site = block.module if block.gain is not None else block.projection
    device = architecture.model.get_input_embeddings().weight.device
    batches = list(batched(sorted(rows, key=len, reverse=True), BATCH_TOKENS))
    total_DD, count = torch.zeros(0, device=device), 0
    for batch in [*batches, *[[]] * (group.max(len(batches)) - len(batches))]:
        ids_BT, mask_BT = pad(batch or [[0, 0]], device=device)
        with torch.enable_grad(), leaf_output(site) as leaf:
            hidden_BTD = architecture.hidden(ids_BT, torch.ones_like(mask_BT))
            kept_BT = mask_BT.bool()
            logits_TV = architecture.logits(hidden_BTD[kept_BT])
            drawn_T = _drawn(logits_TV.detach(), batch or [[0, 0]])
            loss = F.cross_entropy(logits_TV.to(work_dtype(logits_TV.dtype)), drawn_T)
            (g_BTD,) = torch.autograd.grad(loss * len(drawn_T), leaf[0])
        kept_BT[:, : max(1, num_front)] = False
        g_TD = g_BTD[kept_BT & bool(batch)].to(work_dtype(g_BTD.dtype))
        total_DD = g_TD.T @ g_TD + (total_DD if count else 0)
        count += len(g_TD)
    total_DD = group.sum_(total_DD)
    return total_DD, sum(group.gather([count]))


def preconditioner(G_DD: Tensor, *, damping: float) -> Tensor:
    """(G / ḡ + ε I)⁻¹ scaled to a mean diagonal of 1, ḡ the mean of G's diagonal, float64.

    A gradient multiplied by it is the natural gradient (Amari 1998) of a metric that is G and a
    share ε of plain distance. Infinite ε gives the identity.
    """
    G_DD = G_DD.double()
    eye_DD = torch.eye(len(G_DD), dtype=torch.float64, device=G_DD.device)
    scaled_DD = G_DD / G_DD.diagonal().mean() / damping + eye_DD
    P_DD = torch.cholesky_inverse(torch.linalg.cholesky(scaled_DD))
    return P_DD / P_DD.diagonal().mean()


def _drawn(logits_TV: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
    """One token for each position, from the model's own distribution there, [T]."""
    u: list[Tensor] = []
    for row in rows:
        seed = hash(tuple(row)) & 0x7FFFFFFF  # of integers: the same in every process
        u.append(torch.rand(len(row), generator=torch.Generator().manual_seed(seed)))
    cumulative_TV = logits_TV.to(work_dtype(logits_TV.dtype)).softmax(dim=-1).cumsum(dim=-1)
    u_T1 = torch.cat(u).to(cumulative_TV)[:, None] * cumulative_TV[:, -1:]
    return torch.searchsorted(cumulative_TV, u_T1)[:, 0].clamp(max=logits_TV.shape[-1] - 1)
