"""Adam on one matrix over epochs of mini-batches; a training can be resumed after any epoch.

What an epoch does depends on the state before it and on the settings only: the order of rows is
computed from their names, the seed and the epoch's number, never drawn. A run that was killed and
goes on from its last state therefore ends with the same bits.

I, O: width of the projection's input and output. B: rows of a mini-batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.editor import Store
from editors.global_optimization.constrained_fine_tuning.config import LocFtBfConfig
from editors.global_optimization.constrained_fine_tuning.trunk import Trunk

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's, as in its paper and in torch."""


@dataclass(slots=True)
class Training:
    """The state of a training: all that the next epoch depends on."""

    change_IO: Tensor
    """D; float32 or wider, like the moments."""
    mean_IO: Tensor
    """Adam's mean gradient."""
    square_IO: Tensor
    """Adam's mean squared gradient."""
    epoch: int = 0
    """Epochs done."""
    steps: int = 0
    """Steps of Adam done."""
    loss: float = float("nan")
    """Mean over rows of the last epoch, each row as it was when its turn came."""
    finished: bool = False
    """Whether no epoch is left to do. The moments of a finished training are not stored."""

    @classmethod
    def start(cls, trunk: Trunk, dtype: torch.dtype) -> Training:
        """The state before the first epoch: no change."""
        shape = (trunk.width_I, trunk.width_O)
        change, mean, square = torch.zeros(3, *shape, dtype=dtype, device=trunk.device)
        return cls(change, mean, square)

    def save(self, store: Store, key: str) -> None:
        """Keep the state under `key`, in place of the one before."""
        count = [self.epoch, self.steps, self.loss, self.finished]
        tensors = {"change": self.change_IO, "mean": self.mean_IO, "square": self.square_IO}
        if self.finished:
            tensors |= {"mean": self.mean_IO[:0], "square": self.square_IO[:0]}
        kept = {f"{key}.{name}": tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        store.update({**kept, f"{key}.count": torch.tensor(count, dtype=torch.float64)})

    @classmethod
    def load(cls, store: Store, key: str, device: torch.device) -> Training | None:
        """The state kept under `key`, if there is one."""
        if f"{key}.count" not in store:
            return None
        epoch, steps, loss, finished = store[f"{key}.count"].tolist()
        change, mean, square = (
            store[f"{key}.{name}"].to(device).clone() for name in ("change", "mean", "square")
        )
        return cls(change, mean, square, int(epoch), int(steps), loss, bool(finished))


def train(
    trunk: Trunk,
    names: Sequence[str],
    training: Training,
    config: LocFtBfConfig,
    *,
    keep: Callable[[], None],
    report: Callable[[str, int], None],
) -> None:
    """Epochs until the mean loss of one is below `stop_loss`, at most `epochs`.

    `names` tell the rows apart, whatever their order. `keep` is called after each epoch, `report`
    after each mini-batch with a text and how many rows of the epoch are done.
    """
    num_rows = len(trunk.rows)
    while not training.finished:
        order = epoch_order(names, config.seed, training.epoch)
        size = min(config.batch, math.ceil(num_rows / config.epoch_steps))
        total, counted = 0.0, 0
        for start in range(0, num_rows, size):
            losses_B, gradient_IO = loss_and_gradient(
                trunk, order[start : start + size], training.change_IO
            )
            finite_B = losses_B[losses_B.isfinite()]
            if len(finite_B) and float(finite_B.mean()) >= config.stop_loss:
                adam_step(training, gradient_IO, config.learning_rate, config.decay)
            total, counted = total + float(finite_B.sum()), counted + len(finite_B)
            training.loss = total / counted if counted else float("nan")
            text = f"epoch {training.epoch + 1}, loss {training.loss:.3g}"
            report(text, min(start + size, num_rows))
        training.epoch += 1
        enough = not training.loss >= config.stop_loss  # not a number: nothing can be learnt
        training.finished = enough or training.epoch >= config.epochs
        keep()


def epoch_order(names: Sequence[str], seed: int, epoch: int) -> list[int]:
    """Indices of rows in the order of one epoch: that of the digests of their names with seed and
    epoch, hence the same for the same rows in any order, on any machine."""

    def digest(i: int) -> bytes:
        return hashlib.sha256(f"{seed}/{epoch}/{names[i]}".encode()).digest()

    return sorted(range(len(names)), key=digest)


def loss_and_gradient(
    trunk: Trunk, members: Sequence[int], change_IO: Tensor
) -> tuple[Tensor, Tensor]:
    """NLL of each row [B], and the gradient [I, O] of its mean over those rows where it is finite.

    Each bucket is differentiated before the next one runs: memory is that of the largest.
    """
    losses = torch.full((len(members),), torch.nan, dtype=change_IO.dtype)
    place = {member: i for i, member in enumerate(members)}
    gradient_IO = torch.zeros_like(change_IO)
    num_finite = 0
    for group in trunk.buckets(members):
        leaf_IO = change_IO.detach().requires_grad_(True)
        with torch.enable_grad():
            nll_B = trunk.nll(group, leaf_IO)
            losses[[place[i] for i in group]] = nll_B.detach().cpu()
            if not nll_B.isfinite().all():
                group = [
                    i for i, fine in zip(group, nll_B.isfinite().tolist(), strict=True) if fine
                ]
                if not group:
                    continue
                nll_B = trunk.nll(group, leaf_IO)  # a row that is lost would spoil the gradient
            gradient_IO += torch.autograd.grad(nll_B.sum(), leaf_IO)[0]
        num_finite += len(group)
    return losses, gradient_IO / max(num_finite, 1)


@torch.no_grad()
def adam_step(
    training: Training, gradient_IO: Tensor, learning_rate: float, decay: float = 0.0
) -> None:
    """One step of Adam (arXiv:1412.6980 algorithm 1) with decoupled decay (arXiv:1711.05101); none
    on a gradient that is not finite."""
    if not bool(gradient_IO.isfinite().all()):
        return
    training.steps += 1
    training.change_IO.mul_(1 - learning_rate * decay)
    training.mean_IO.lerp_(gradient_IO, 1 - BETA1)
    training.square_IO.mul_(BETA2).addcmul_(gradient_IO, gradient_IO, value=1 - BETA2)
    mean_scale, square_scale = 1 - BETA1**training.steps, 1 - BETA2**training.steps
    denominator_IO = (training.square_IO / square_scale).sqrt_().add_(EPSILON)
    training.change_IO.addcdiv_(training.mean_IO, denominator_IO, value=-learning_rate / mean_scale)


@torch.no_grad()
def final_losses(trunk: Trunk, change_IO: Tensor, num_behind: int) -> tuple[Tensor, Tensor]:
    """With D in force, of every row: mean NLL of what was learnt, and of the target without the
    `num_behind` tokens learnt behind it; [rows] each, float64."""
    learnt, target = torch.empty(2, len(trunk.rows), dtype=torch.float64)
    for group in trunk.buckets(range(len(trunk.rows))):
        nll_M, row_M = trunk.token_nll(group, change_IO)
        parts = nll_M.double().cpu().split(row_M.bincount().tolist())
        for member, part in zip(group, parts, strict=True):
            learnt[member] = part.mean()
            target[member] = part[: len(part) - num_behind].mean()
    return learnt, target
