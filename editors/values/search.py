"""Values: what the hidden state at the subject's last token should be to give the target.

Many facts are optimised at once, each by itself: rows never mix, so batch, order and padding do not
matter beyond rounding. A row is one context of one fact. The ranks of a group optimise a share each
and keep step, since a pass through a sharded model is one that all of them make.

F: facts still running. D: hidden size. C: D or 1. M: predicted tokens. V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from editors.editor import Progress, silent
from editors.internals.architecture import Architecture
from editors.internals.forward import frozen, plain_attention, work_dtype
from editors.internals.suffix import Place, Site
from editors.internals.suffix_rows import SuffixRows
from editors.internals.tokens import TokenRow
from editors.statistics.fisher import preconditioner
from editors.values.config import ValueConfig
from infra.distributed.group import SINGLE_PROCESS, Group, share

KEPT_TOKENS = 64
"""Tokens, the base's likeliest, that a distribution which is to stay is compared at; all others
count as one."""


@dataclass(frozen=True, slots=True)
class FactRows:
    """The rows that share one value: every context of every request on one lookup prefix."""

    rows: tuple[TokenRow, ...]
    """The first is a bare prompt."""
    essence: TokenRow | None = None
    """`{subject} is a`, cut after the subject: where the KL term is read; None where there is no
    such term."""
    kept: tuple[TokenRow, ...] = ()
    """Other prompts about the subject, each with the base's own continuation as its target: the
    distributions that predict it are to stay."""
    kept_base: tuple[TokenRow, ...] = ()
    """These prompts as the base is given them, where the edited model is given one token more, the
    lookup token; empty where both are given the same."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value found, and how the search for it went."""

    z_D: Tensor
    """Wanted value at the site, or change of it, [D]; not finite if the loss was not."""
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


def mean_loss(values: Mapping[str, Tensor]) -> dict[str, float]:
    """`{"loss": mean loss of packed values}`; empty where there are no values."""
    losses = [Value.unpack(value).loss for value in values.values()]
    return {"loss": sum(losses) / len(losses)} if losses else {}


def optimise(
    architecture: Architecture,
    facts: Sequence[FactRows],
    layer: int,
    config: ValueConfig,
    *,
    G_DD: Tensor | None = None,
    place: Place | None = None,
    as_change: bool = False,
    progress: Progress = silent,
    group: Group = SINGLE_PROCESS,
) -> list[Value]:
    """Minimise, for every fact by itself (arXiv:2210.07229 section 4.3.1, arXiv:2202.05262 eq. 4),

        J(δ) = mean_c NLL(target | context c, h + δ) + a_KL KL(p_0 ‖ p_δ) + a_wd ‖δ‖ / ‖h‖²
               + a_keep mean_k KL(p_0 ‖ p_δ | prompt and continuation k, of this step's turn)

    with Adam, ‖δ‖ projected to c ‖h‖ after each step; z = h + δ, h of the bare prompt. Adam's
    second moment is one number a fact, the mean over D, unless `per_coordinate`: scaling every
    coordinate apart makes all of δ as large as its largest entry, and a longer δ that other facts
    meet harms them without helping this one.
    A fact stops before stepping when its NLL is below `stop_loss`. δ, norms and losses are float32
    or wider. With the site's Fisher information `G_DD` the descent is in its metric (natural
    gradient): the same loss is reached by a δ that ordinary text minds less. `place` is that of
    `Site`. With `as_change` the values returned are δ instead of z. All ranks of `group` give all
    facts and are returned all values.
    """
    site = Site(architecture, layer, place=place, few_passes=group.size > 1)
    with frozen(architecture.model), plain_attention(architecture.model):
        with torch.no_grad():
            owners = [i for i, fact in enumerate(facts) for _ in fact.rows]
            rows, h_BD, _ = site.prepare([row for fact in facts for row in fact.rows], owners)
            bare = [owners.index(i) for i in range(len(facts))]
            dtype = work_dtype(h_BD.dtype)
            essence = _prepare_essence(site, facts, dtype) if config.kl_weight else None
            P_DD = None if G_DD is None else preconditioner(G_DD, damping=config.damping)
            P_DD = None if P_DD is None else P_DD.to(h_BD.device, dtype)
            kept = [
                _prepare_kept(site, facts, dtype, slice(turn, None, config.kept_turns))
                for turn in range(config.kept_turns if config.kept_weight else 0)
            ]
        search = _Search(
            site,
            rows,
            essence,
            kept,
            h_BD[bare].to(dtype),
            P_DD,
            config,
            group,
            as_change=as_change,
        )
        return search.run(lambda done: progress("values", done, len(facts)))


@dataclass(slots=True)
class _Essence:
    """The rows that KL is measured on, and the base's distribution there."""

    rows: list[SuffixRows]
    base_FV: Tensor

    def select(self, site: Site, kept_F: Tensor) -> _Essence:
        """Those of the facts kept."""
        rows = site.merged([bucket.select(kept_F) for bucket in self.rows])
        return _Essence(rows, self.base_FV[kept_F])


def _prepare_essence(site: Site, facts: Sequence[FactRows], dtype: torch.dtype) -> _Essence:
    essence = [fact.essence for fact in facts if fact.essence is not None]
    assert len(essence) == len(facts)
    rows, _, last_FD = site.prepare(essence, range(len(facts)))
    return _Essence(rows, site.architecture.logits(last_FD).to(dtype).log_softmax(dim=-1))


def _prepare_kept(
    site: Site, facts: Sequence[FactRows], dtype: torch.dtype, turn: slice
) -> list[SuffixRows]:
    """The rows of all facts that are to stay and have this turn, with the base's distributions."""
    owners = [i for i, fact in enumerate(facts) for _ in fact.kept[turn]]
    if not owners:
        return []
    buckets, h_BD, _ = site.prepare([row for fact in facts for row in fact.kept[turn]], owners)
    base = [row for fact in facts for row in fact.kept_base[turn]]
    base_buckets = site.prepare(base, owners)[0] if base else buckets
    nothing_FD = torch.zeros(len(facts), h_BD.shape[1], dtype=dtype, device=h_BD.device)
    for rows, base_rows in zip(buckets, base_buckets, strict=True):
        assert torch.equal(rows.token_M, base_rows.token_M)  # of the same lengths, in one order
        hidden_MD = site.hidden(base_rows, nothing_FD)[base_rows.row_M, base_rows.slot_M]
        logp_MV = site.architecture.logits(hidden_MD).to(dtype).log_softmax(dim=-1)
        rows.top_MK = logp_MV.topk(KEPT_TOKENS, dim=-1).indices
        rows.base_MK = _summed(logp_MV, rows.top_MK)
    return buckets


def _summed(logp_MV: Tensor, top_MK: Tensor) -> Tensor:
    """Log-probabilities of the given tokens, and last that of all others together, [M, K + 1]."""
    own_MK = logp_MV.gather(-1, top_MK)
    rest_M = (1 - own_MK.exp().sum(dim=-1)).clamp(min=1e-6).log()
    return torch.cat([own_MK, rest_M[:, None]], dim=-1)


def _kl(base_MK: Tensor, logp_MK: Tensor) -> Tensor:
    """KL divergence of the base's distribution to another, [M]."""
    return (base_MK.exp() * (base_MK - logp_MK)).sum(dim=-1)


class _Search:
    """Adam on every fact's δ at once; facts leave as they finish, and their rows with them.

    A rank whose facts have all finished, or that has none, goes on with one whose value nobody
    takes.
    """

    def __init__(
        self,
        site: Site,
        rows: list[SuffixRows],
        essence: _Essence | None,
        kept: list[list[SuffixRows]],
        h_FD: Tensor,
        P_DD: Tensor | None,
        config: ValueConfig,
        group: Group,
        *,
        as_change: bool,
    ) -> None:
        self.P_DD, self.group, self.as_change = P_DD, group, as_change
        self.site, self.rows, self.essence, self.config = site, rows, essence, config
        self.kept = kept
        self.facts_F = torch.arange(len(h_FD), device=h_FD.device)
        self.h_FD = h_FD
        self.norm_F = h_FD.norm(dim=1)
        self.delta_FD, self.m_FD = torch.zeros_like(h_FD), torch.zeros_like(h_FD)
        self.v_FC = torch.zeros_like(h_FD if config.per_coordinate else h_FD[:, :1])

    def run(self, report: Callable[[int], None]) -> list[Value]:
        """Step until every fact has its value; `report` is told how many have."""
        values: dict[int, Value] = {}
        mine = share(range(len(self.facts_F)), self.group)
        if self.group.size > 1:
            self._keep(torch.isin(self.facts_F, torch.tensor(mine or [0]).to(self.facts_F)))
        for step in range(1, self.config.steps + 1):
            kept = self.kept[step % len(self.kept)] if self.kept else ()
            J_F, nll_F, gradient_FD = self._loss(kept)
            settled_F = (nll_F < self.config.stop_loss) & (self.kept_F < self.config.stop_kept)
            lost_F = ~(J_F.isfinite() & gradient_FD.isfinite().all(dim=1))
            done_F = settled_F | lost_F | (step == self.config.steps)
            finished = done_F.nonzero().flatten().tolist()
            for i in finished:
                value = self._value(i, step, J_F, nll_F, bool(lost_F[i]))
                values.setdefault(int(self.facts_F[i]), value)
            report(len(values))
            if not self.group.any(not bool(done_F.all())):
                break
            self._step(step, gradient_FD)
            if finished:
                done_F[0] &= not bool(done_F.all())  # one stays, to keep step with the other ranks
                self._keep(~done_F)
        found = dict(self.group.gather([(i, values[i]) for i in mine]))
        return [found[i] for i in range(len(found))]

    def _value(self, i: int, step: int, J_F: Tensor, nll_F: Tensor, lost: bool) -> Value:
        delta_D = self.delta_FD[i]
        z_D = (delta_D if self.as_change else self.h_FD[i] + delta_D).cpu()
        return Value(
            z_D=torch.full_like(z_D, torch.nan) if lost else z_D,
            steps=step,
            loss=float(J_F[i]),
            p_target=float((-nll_F[i]).exp()),
            norm_ratio=float(self.delta_FD[i].norm() / self.norm_F[i]),
        )

    def _step(self, step: int, gradient_FD: Tensor) -> None:
        """One step of Adam, then back into the ball of radius c ‖h‖."""
        config = self.config
        if self.P_DD is not None:
            gradient_FD = gradient_FD @ self.P_DD
        self.m_FD = config.beta1 * self.m_FD + (1 - config.beta1) * gradient_FD
        square_FC = gradient_FD.square()
        if not config.per_coordinate:
            square_FC = square_FC.mean(dim=1, keepdim=True)
        self.v_FC = config.beta2 * self.v_FC + (1 - config.beta2) * square_FC
        mean_FD = self.m_FD / (1 - config.beta1**step)
        scale_FC = (self.v_FC / (1 - config.beta2**step)).sqrt() + 1e-12
        rate_F1 = config.learning_rate * self.norm_F[:, None] / self.h_FD.shape[1] ** 0.5
        delta_FD = self.delta_FD - rate_F1 * mean_FD / scale_FC
        size_F = delta_FD.norm(dim=1).clamp(min=1e-30)
        self.delta_FD = delta_FD * (config.clamp * self.norm_F / size_F).clamp(max=1)[:, None]

    def _keep(self, kept_F: Tensor) -> None:
        """Go on with these facts only."""
        self.rows = self.site.merged([bucket.select(kept_F) for bucket in self.rows])
        self.essence = self.essence and self.essence.select(self.site, kept_F)
        self.kept = [
            self.site.merged([bucket.select(kept_F) for bucket in turn]) for turn in self.kept
        ]
        for name in ("facts_F", "h_FD", "norm_F", "delta_FD", "m_FD", "v_FC"):
            setattr(self, name, getattr(self, name)[kept_F])

    def _loss(self, kept: Sequence[SuffixRows]) -> tuple[Tensor, Tensor, Tensor]:
        """J and NLL of every fact, [F], and the gradient of J, [F, D]: of the sum, never of a mean.

        kept  the rows of what is to stay that have their turn

        Each bucket is differentiated before the next one runs: memory is that of the largest.
        """
        delta_FD = self.delta_FD.detach().requires_grad_(True)
        nll_F = torch.zeros_like(self.norm_F)
        size_F = (self.delta_FD.square().sum(dim=1) + 1e-30).sqrt()
        J_F = self.config.decay * size_F / self.norm_F.square()
        gradient_FD = self.delta_FD * (self.config.decay / (size_F * self.norm_F.square()))[:, None]
        for rows, counted in self._passes(self.rows):
            with torch.enable_grad():
                hidden_MD = self.site.hidden(rows, delta_FD)[rows.row_M, rows.slot_M]
                logits_MV = self.site.architecture.logits(hidden_MD).to(delta_FD.dtype)
                nll_M = rows.weight_M * F.cross_entropy(logits_MV, rows.token_M, reduction="none")
                found_FD = torch.autograd.grad(nll_M.sum(), delta_FD)[0]
            if counted:
                gradient_FD += found_FD
                nll_F.index_add_(0, rows.owner_B[rows.row_M], nll_M.detach())
        J_F += nll_F
        for rows, counted in self._passes(self.essence.rows) if self.essence else ():
            assert self.essence is not None
            with torch.enable_grad():
                last_BD = self.site.at_lookups(rows, self.site.hidden(rows, delta_FD))
                logits_BV = self.site.architecture.logits(last_BD)
                logp_BV = logits_BV.to(delta_FD.dtype).log_softmax(dim=-1)
                base_BV = self.essence.base_FV[rows.owner_B]
                kl_B = self.config.kl_weight * (base_BV.exp() * (base_BV - logp_BV)).sum(dim=-1)
                found_FD = torch.autograd.grad(kl_B.sum(), delta_FD)[0]
            if counted:
                gradient_FD += found_FD
                J_F.index_add_(0, rows.owner_B, kl_B.detach())
        self.kept_F = torch.zeros_like(nll_F)
        for rows, counted in self._passes(kept):
            with torch.enable_grad():
                hidden_MD = self.site.hidden(rows, delta_FD)[rows.row_M, rows.slot_M]
                logp_MV = (
                    self.site.architecture.logits(hidden_MD).to(delta_FD.dtype).log_softmax(-1)
                )
                drift_M = rows.weight_M * _kl(rows.base_MK, _summed(logp_MV, rows.top_MK))
                weighted = self.config.kept_weight * drift_M.sum()
                found_FD = torch.autograd.grad(weighted, delta_FD)[0]
            if counted:
                gradient_FD += found_FD
                self.kept_F.index_add_(0, rows.owner_B[rows.row_M], drift_M.detach())
        J_F += self.config.kept_weight * self.kept_F
        return J_F, nll_F, gradient_FD

    def _passes(self, buckets: Sequence[SuffixRows]) -> Iterator[tuple[SuffixRows, bool]]:
        """Buckets to run, and whether they count: as many on every rank."""
        for i in range(self.group.max(len(buckets))):
            yield buckets[min(i, len(buckets) - 1)], i < len(buckets)
