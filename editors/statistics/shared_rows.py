"""Rows of the embedding that are found once for a model and used for every edit, as a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from infra.files.tensors import load_tensors, save_with_digest

FORMAT = "corrigenda-shared-rows-1"


@dataclass(frozen=True, slots=True, eq=False)
class SharedRows:
    """Rows in the units of the model's own. They are tuned by one worker in one piece, so those of
    all other parts of a corpus are none."""

    rows_KD: Tensor
    """Float32, [K, D]; [0, 0] where there are none."""

    def merge(self, other: SharedRows) -> SharedRows:
        """Those of the two that are some."""
        return self if len(self.rows_KD) else other

    def blend(self, other: SharedRows, share: float) -> SharedRows:
        """These: statements to be preserved are not what they are tuned on."""
        return self

    @property
    def digest(self) -> str:
        """Content of the rows; empty where there are none."""
        if not len(self.rows_KD):
            return ""
        return hashlib.sha256(self.rows_KD.contiguous().numpy().tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        save_with_digest({"rows": self.rows_KD.contiguous()}, path, {"format": FORMAT})

    @classmethod
    def load(cls, path: Path) -> SharedRows:
        """Read what `save` wrote. Raises EditError when the file is something else."""
        found, _ = load_tensors(path, "shared rows", FORMAT)
        return cls(found["rows"])


NO_ROWS = SharedRows(torch.zeros(0, 0))
