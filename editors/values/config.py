"""Settings of the search for values, with their ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from infra.errors import ConfigError


def check_range(
    kind: str, name: str, value: float, low: float, high: float, *, open_low: bool = False
) -> None:
    """Raise ConfigError, naming the allowed range, unless low <= value <= high (low < value if
    open)."""
    if not ((value > low if open_low else value >= low) and value <= high):
        bracket = "(" if open_low else "["
        raise ConfigError(f"{kind}: {name}={value} is outside {bracket}{low}, {high}].")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueConfig:
    """How a value is searched for."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    steps: int = 20
    """Most evaluations of the loss per fact; one less optimiser steps. 1 to 1000."""
    learning_rate: float = 0.2
    """Adam's, in units of ‖h‖ / √D, so that it means the same in every model. (0, 100]."""
    beta1: float = 0.9
    """Adam's decay of the mean gradient. [0, 0.999]."""
    beta2: float = 0.999
    """Adam's decay of the mean square. [0, 0.9999]."""
    per_coordinate: bool = False
    """Whether Adam's mean square is one number a coordinate, instead of one for all of a value."""
    clamp: float = 0.75
    """Most ‖δ‖ / ‖h‖; MEMIT's 0.75. (0, 100]."""
    kl_weight: float = 0.0625
    """a_KL, weight of the drift of `{subject} is a`; MEMIT's. [0, 100]."""
    kept_weight: float = 0.0
    """Weight of the drift of what is to stay (`FactRows.kept`). [0, 100]."""
    kept_turns: int = 1
    """Parts that the rows of what is to stay are divided into; a step sees one of them, the next
    step the next. 1 to 100."""
    stop_kept: float = 0.05
    """Where that drift has a weight, a fact is finished when it is below too. [0, 100]."""
    decay: float = 0.5
    """a_wd, weight of ‖δ‖ / ‖h‖²; MEMIT's. [0, 100]."""
    stop_loss: float = 0.05
    """A fact is finished when its mean NLL is below; MEMIT's. [0, 10]."""

    damping: float = 1.0
    """ε, share of plain distance beside the Fisher metric in the descent, where that is known:
    small keeps out of the directions that ordinary text minds, large forgets them. (0, 1e9]."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_range(kind, "steps", self.steps, 1, 1000)
        check_range(kind, "learning_rate", self.learning_rate, 0, 100, open_low=True)
        check_range(kind, "beta1", self.beta1, 0, 0.999)
        check_range(kind, "beta2", self.beta2, 0, 0.9999)
        check_range(kind, "clamp", self.clamp, 0, 100, open_low=True)
        check_range(kind, "kl_weight", self.kl_weight, 0, 100)
        check_range(kind, "kept_weight", self.kept_weight, 0, 100)
        check_range(kind, "kept_turns", self.kept_turns, 1, 100)
        check_range(kind, "stop_kept", self.stop_kept, 0, 100)
        check_range(kind, "decay", self.decay, 0, 100)
        check_range(kind, "stop_loss", self.stop_loss, 0, 10)
        check_range(kind, "damping", self.damping, 0, 1e9, open_low=True)
