"""Prompt tuning (arXiv:2104.08691): rows of the embedding that stand in every prompt, found so that
a frozen model predicts what is to be predicted.

B: rows of tokens. K: tuned rows. D: hidden size. M: predicted tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from editors.editor import Progress, silent
from editors.internals.architecture import Architecture
from editors.internals.forward import frozen, shifted, work_dtype
from editors.internals.suffix import BUCKET_TOKENS
from editors.internals.tokens import TokenRow, bucketed, pad, waste_tokens
from editors.values.config import check_range

WARM_UP = 10
"""Steps over which the learning rate rises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTuningConfig:
    """How rows are tuned."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    steps: int = 120
    """Steps of Adam, each on other prompts. 1 to 100000."""
    batch: int = 16
    """Prompts of a step. 1 to 4096."""
    learning_rate: float = 0.15
    """Adam's at its highest, in units of ‖row‖ / √D of the model's own rows. (0, 100]."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_range(kind, "steps", self.steps, 1, 100_000)
        check_range(kind, "batch", self.batch, 1, 4096)
        check_range(kind, "learning_rate", self.learning_rate, 0, 100, open_low=True)


def tuned(
    architecture: Architecture,
    start_KD: Tensor,
    batches: Iterable[Sequence[TokenRow]],
    config: PromptTuningConfig,
    *,
    progress: Progress = silent,
) -> Tensor:
    """The K rows [K, D], float32, as the embedding gives them out, after a step for each batch.

    start_KD  what they begin as
    batches   of rows whose last K tokens up to and with the lookup token are any tokens: the tuned
              rows are put in their place

    The loss is the mean over rows of the mean NLL of their targets. A step whose loss is not finite
    is left out.
    """
    embedding = architecture.model.get_input_embeddings()
    unit = float(start_KD.float().norm(dim=1).mean()) / start_KD.shape[1] ** 0.5
    rows_KD = start_KD.float().clone().requires_grad_(True)
    adam = torch.optim.Adam([rows_KD], lr=config.learning_rate * unit, betas=(0.9, 0.95))
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, config.steps))
    with frozen(architecture.model):
        for step, batch in enumerate(batches):
            lengths = [len(row.ids) for row in batch]
            adam.zero_grad()
            for members in bucketed(lengths, waste_tokens(embedding.weight.device), BUCKET_TOKENS):
                loss = _loss(architecture, [batch[i] for i in members], rows_KD) / len(batch)
                loss.backward()
            if rows_KD.grad is not None and bool(rows_KD.grad.isfinite().all()):
                adam.step()
            rate.step()
            progress("shared rows", step + 1, config.steps)
    return rows_KD.detach()


def _rate(step: int, steps: int) -> float:
    """Share of the highest learning rate: a rise, then a fall to nothing."""
    return min(1.0, (step + 1) / WARM_UP) * max(0.0, 1 - step / steps) ** 0.5


def _loss(architecture: Architecture, rows: Sequence[TokenRow], rows_KD: Tensor) -> Tensor:
    """Sum over rows of the mean NLL of their targets, with the tuned rows in place."""
    embedding = architecture.model.get_input_embeddings()
    device, K = embedding.weight.device, len(rows_KD)
    ids_BT, mask_BT = pad([row.ids for row in rows], device=device)
    at_BK = torch.tensor([[row.lookup - K + 1 + k for k in range(K)] for row in rows])
    at_BKD = at_BK.to(device)[..., None].expand(-1, -1, rows_KD.shape[1])

    def put(out_BTD: Tensor) -> Tensor:
        own_BKD = rows_KD.to(out_BTD).expand(len(rows), -1, -1)
        return out_BTD.scatter(1, at_BKD, own_BKD)

    targets = [
        (b, len(row.ids) - row.num_target + t, 1 / row.num_target)
        for b, row in enumerate(rows)
        for t in range(row.num_target)
    ]
    row_M = torch.tensor([b for b, _, _ in targets], device=device)
    slot_M = torch.tensor([slot for _, slot, _ in targets], device=device)
    weight_M = torch.tensor([weight for _, _, weight in targets], device=device)
    with torch.enable_grad(), shifted(embedding, put):
        hidden_MD = architecture.hidden(ids_BT, mask_BT)[row_M, slot_M - 1]
    with torch.enable_grad():
        logits_MV = architecture.logits(hidden_MD)
        logits_MV = logits_MV.to(work_dtype(logits_MV.dtype))
        nll_M = F.cross_entropy(logits_MV, ids_BT[row_M, slot_M], reduction="none")
        return (weight_M * nll_M).sum()
