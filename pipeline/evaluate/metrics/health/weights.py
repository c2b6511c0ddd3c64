"""How far the weights themselves have moved: what precedes a collapse (evaluation by answers sees
it late).

norm_ratio      greatest ‖W‖_F / ‖W0‖_F of an edited matrix, or its inverse
spectral_ratio  greatest ratio of the greatest singular values of W and W0
effective_rank  greatest effective rank of a change: exp of the entropy of its singular values
                (Roy and Vetterli 2007)
energy          share of a module's output that has changed on held-out text, the greatest
non_finite      edited values that are not finite numbers
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from infra.lm.question import Question
from infra.models.checkpoint import Checkpoint
from pipeline.evaluate.cases import CaseSet
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.scoring.family import AnswerSet, Scores
from pipeline.evaluate.scoring.metric import Measured, Metric, Protocol

POWER_STEPS = 50


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """None."""
    return ()


def score(answer_set: AnswerSet) -> Scores:
    """Energy on the texts that were read; the rest is `monitors`', which reads no answers."""
    energies = {k: text.energy for k, text in answer_set.texts.items() if text.energy is not None}
    protocol = answer_set.protocol("none", "norm", "texts")
    energy = Measured(
        items=energies, protocol=protocol, num_questions=len(energies), is_share=False
    )
    return {"energy": energy}


def monitors(base: Checkpoint, edited: Checkpoint, names: Iterable[str]) -> Mapping[str, Metric]:
    """Ratios over the named matrices, read from two checkpoints; those with values that are not
    finite are counted, and left out of the rest."""
    found: dict[str, list[float]] = {
        "norm_ratio": [],
        "spectral_ratio": [],
        "effective_rank": [],
        "non_finite": [],
    }
    for name in names:
        before, after = base.tensor(name).double(), edited.tensor(name).double()
        bad = int((~after.isfinite()).sum())
        found["non_finite"].append(bad)
        if bad:
            continue
        norms = float(after.norm()), float(before.norm())
        found["norm_ratio"].append(max(_ratio(*norms), _ratio(*reversed(norms))))
        found["spectral_ratio"].append(_ratio(spectral_norm(after), spectral_norm(before)))
        found["effective_rank"].append(effective_rank(after - before))
    label = str(Protocol(decode="none", prompt="none", score="norm"))
    return {
        name: Metric(
            value=(sum if name == "non_finite" else max)(values), n=len(values), protocol=label
        )
        for name, values in found.items()
        if values
    }


def _ratio(a: float, b: float) -> float:
    """a / b; 1 of two zeros, infinite of something and nothing."""
    return a / b if b else 1.0 if a == b else math.inf


def spectral_norm(matrix: Tensor) -> float:
    """Greatest singular value, by power iteration from a fixed start; from below, the closer the
    further it stands out."""
    v = torch.linspace(1, 2, matrix.shape[1], dtype=matrix.dtype)
    for _ in range(POWER_STEPS):
        v = matrix.T @ (matrix @ (v / v.norm().clamp(min=torch.finfo(v.dtype).tiny)))
    return float(v.norm().sqrt())


def effective_rank(matrix: Tensor) -> float:
    """exp of the entropy of the singular values over their sum; 0 of a matrix of zeros."""
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    sigma = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    if not float(sigma.sum()):
        return 0.0
    share = sigma / sigma.sum()
    return float((-(share * share.clamp(min=1e-300).log()).sum()).exp())
