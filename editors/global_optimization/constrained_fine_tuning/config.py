"""Settings of fine-tuning, with their ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from editors.internals.contexts import STARTERS
from editors.values.config import check_range


@dataclass(frozen=True, slots=True, kw_only=True)
class LocFtBfConfig:
    """Settings of LocFT-BF (arXiv:2509.22072)."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    layer: int | None = None
    """Layer whose MLP output projection is trained, counted from 0; unset: by depth."""
    learning_rate: float = 1e-3
    """Adam's. The paper's 5e-4 is for thousands of edits; of fifty, on a model of 135M, it leaves
    one in eight unlearnt. (0, 1]."""
    epochs: int = 25
    """Most passes over all rows; the paper's. 1 to 10000."""
    batch: int = 100
    """Most rows of one step; the paper's. 1 to 1000000."""
    epoch_steps: int = 5
    """Least steps of an epoch: a small set is dealt out into smaller mini-batches, or its epochs
    would be too few steps to learn it. 1 to 1000."""
    stop_loss: float = 1e-2
    """A mini-batch below it makes no step, an epoch whose mean is below it is the last; the
    paper's. [0, 10]."""
    decay: float = 0.0
    """Decoupled pull of D towards zero (arXiv:1711.05101): each step first takes learning_rate
    times this from it. [0, 1000]."""
    end_of_text: bool = True
    """Learn that the text ends behind the target, on by default as in the paper: answers then end
    with the target. `loss` of a report counts it, `p_target` does not."""
    num_prefixed: int = 0
    """Contexts besides the bare prompt: each adds one row for every edit. 0 to 10."""
    context_tokens: int = 10
    """Tokens that the model adds to a context's starter. 1 to 100."""
    seed: int = 0
    """Of the order of rows in every epoch. 0 to 2147483648."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_range(kind, "layer", self.layer or 0, 0, math.inf)
        check_range(kind, "learning_rate", self.learning_rate, 0, 1, open_low=True)
        check_range(kind, "epochs", self.epochs, 1, 10_000)
        check_range(kind, "batch", self.batch, 1, 1_000_000)
        check_range(kind, "epoch_steps", self.epoch_steps, 1, 1000)
        check_range(kind, "stop_loss", self.stop_loss, 0, 10)
        check_range(kind, "decay", self.decay, 0, 1000)
        check_range(kind, "num_prefixed", self.num_prefixed, 0, len(STARTERS))
        check_range(kind, "context_tokens", self.context_tokens, 1, 100)
        check_range(kind, "seed", self.seed, 0, 1 << 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class FtMConfig(LocFtBfConfig):
    """Settings of FT-M (arXiv:2401.01286): an epoch is one step on everything."""

    learning_rate: float = 2e-3
    """Adam's. 25 steps of the paper's 5e-4 teach a model of 135M one in twelve of fifty edits by
    its greedy answers. (0, 1]."""
    batch: int = 1_000_000
    """Most rows of one step: all of them. 1 to 1000000."""
    epoch_steps: int = 1
    """Least steps of an epoch. 1 to 1000."""
    end_of_text: bool = False
    """Learn that the text ends behind the target; off as in the paper."""
