"""Values: what the hidden state at the subject's last token should be to give the target.

Many facts are optimised at once, each by itself: rows never mix, so batch, order and padding do not
matter beyond rounding. A row is one context of one fact.

F: facts still running. D: hidden size. M: predicted tokens. V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.architecture import Architecture
from editors.forward import frozen, work_dtype
from editors.suffix import Site, SuffixRows
from editors.tokens import Row
from editors.value_config import ValueConfig


@dataclass(frozen=True, slots=True)
class Fact:
    """The rows that share one value: every context of every request on one lookup prefix."""

    rows: tuple[Row, ...]
    """The first is a bare prompt."""
    essence: Row
    """`{subject} is a`, cut after the subject."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value found, and how the search for it went."""

    z_D: Tensor
    """Wanted value at the site, [D]; not finite if the loss was not."""
    steps: int
    """Evaluations of the loss."""
    loss: float
    """J at the value."""
    p_target: float
    """exp(-mean NLL) of the target's tokens over contexts, with the value in place."""
    norm_ratio: float
    """‖δ‖ / ‖h‖."""

    def pack(self) -> Tensor:
        """As one tensor [D + 4], for a store of tensors."""
        tail = [float(self.steps), self.loss, self.p_target, self.norm_ratio]
        return torch.cat([self.z_D.cpu(), torch.tensor(tail, dtype=self.z_D.dtype)])

    @classmethod
    def unpack(cls, packed: Tensor) -> Value:
        """The value that `pack` made."""
        steps, loss, p_target, ratio = packed[-4:].tolist()
        return cls(packed[:-4], int(steps), loss, p_target, ratio)


def optimise(
    architecture: Architecture, facts: Sequence[Fact], layer: int, config: ValueConfig
) -> list[Value]:
    """Minimise, for every fact by itself (arXiv:2210.07229 section 4.3.1, arXiv:2202.05262 eq. 4),

        J(δ) = mean_c NLL(target | context c, h + δ) + a_KL KL(p_0 ‖ p_δ) + a_wd ‖δ‖ / ‖h‖²

    with Adam, ‖δ‖ projected to c ‖h‖ after each step; z = h + δ, h of the bare prompt. Adam's
    second moment is one number a fact, the mean over D: scaling every coordinate apart makes all
    of δ as large as its largest entry, and a longer δ harms other facts without helping this one.
    A fact stops before stepping when its NLL is below `stop_loss`. δ, norms and losses are float32
    or wider.
    """
    site = Site(architecture, layer)
    with frozen(architecture.model):
        with torch.no_grad():
            owners = [i for i, fact in enumerate(facts) for _ in fact.rows]
            rows, h_BD, _ = site.prepare([row for fact in facts for row in fact.rows], owners)
            bare = [owners.index(i) for i in range(len(facts))]
            essence, _, last_FD = site.prepare([f.essence for f in facts], range(len(facts)))
            dtype = work_dtype(h_BD.dtype)
            base_FV = architecture.logits(last_FD).to(dtype).log_softmax(dim=-1)
        return _descend(site, rows, essence, h_BD[bare].to(dtype), base_FV, config)


def _descend(
    site: Site,
    rows: SuffixRows,
    essence: SuffixRows,
    h_FD: Tensor,
    base_FV: Tensor,
    config: ValueConfig,
) -> list[Value]:
    """Adam on every fact's δ; facts leave as they finish, and their rows with them."""
    values: dict[int, Value] = {}
    facts_F = torch.arange(len(h_FD), device=h_FD.device)
    norm_F = h_FD.norm(dim=1)
    rate_F1 = config.learning_rate * norm_F[:, None] / h_FD.shape[1] ** 0.5
    delta_FD, m_FD, v_F1 = torch.zeros_like(h_FD), torch.zeros_like(h_FD), 0 * h_FD[:, :1]
    for step in range(1, config.steps + 1):
        J_F, nll_F, gradient_FD = _loss(site, rows, essence, delta_FD, norm_F, base_FV, config)
        lost_F = ~(J_F.isfinite() & gradient_FD.isfinite().all(dim=1))
        done_F = (nll_F < config.stop_loss) | lost_F | (step == config.steps)
        finished = done_F.nonzero().flatten().tolist()
        for i in finished:
            z_D = h_FD[i] + delta_FD[i] if not lost_F[i] else torch.full_like(h_FD[i], torch.nan)
            ratio = delta_FD[i].norm() / norm_F[i]
            values[int(facts_F[i])] = Value(
                z_D, step, float(J_F[i]), float((-nll_F[i]).exp()), float(ratio)
            )
        if len(finished) == len(facts_F):
            break
        m_FD = config.beta1 * m_FD + (1 - config.beta1) * gradient_FD
        square_F1 = gradient_FD.square().mean(dim=1, keepdim=True)
        v_F1 = config.beta2 * v_F1 + (1 - config.beta2) * square_F1
        mean_FD, scale_F1 = m_FD / (1 - config.beta1**step), v_F1 / (1 - config.beta2**step)
        delta_FD = delta_FD - rate_F1 * mean_FD / (scale_F1.sqrt() + 1e-12)
        room_F1 = (config.clamp * norm_F / delta_FD.norm(dim=1).clamp(min=1e-30)).clamp(max=1)[
            :, None
        ]
        delta_FD = delta_FD * room_F1
        if finished:
            kept_F = ~done_F
            rows, essence = rows.select(kept_F), essence.select(kept_F)
            facts_F, h_FD, norm_F, rate_F1, base_FV = (
                x[kept_F] for x in (facts_F, h_FD, norm_F, rate_F1, base_FV)
            )
            delta_FD, m_FD, v_F1 = (x[kept_F] for x in (delta_FD, m_FD, v_F1))
    return [values[i] for i in range(len(values))]


def _loss(
    site: Site,
    rows: SuffixRows,
    essence: SuffixRows,
    delta_FD: Tensor,
    norm_F: Tensor,
    base_FV: Tensor,
    config: ValueConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """J and NLL of every fact, [F], and the gradient of J, [F, D]: of the sum, never of a mean."""
    with torch.enable_grad():
        delta_FD = delta_FD.detach().requires_grad_(True)
        hidden_MD = site.hidden(rows, delta_FD)[rows.row_M, rows.slot_M]
        logp_MV = site.architecture.logits(hidden_MD).to(delta_FD.dtype).log_softmax(dim=-1)
        nll_M = -logp_MV.gather(1, rows.token_M[:, None])[:, 0]
        nll_F = torch.zeros_like(norm_F).index_add(
            0, rows.owner_B[rows.row_M], rows.weight_M * nll_M
        )
        logits_FV = site.architecture.logits(site.hidden(essence, delta_FD)[:, 0])
        logp_FV = logits_FV.to(delta_FD.dtype).log_softmax(dim=-1)
        kl_F = (base_FV.exp() * (base_FV - logp_FV)).sum(dim=-1)
        size_F = (delta_FD.square().sum(dim=1) + 1e-30).sqrt()
        J_F = nll_F + config.kl_weight * kl_F + config.decay * size_F / norm_F.square()
        (gradient_FD,) = torch.autograd.grad(J_F.sum(), delta_FD)
    return J_F.detach(), nll_F.detach(), gradient_FD
