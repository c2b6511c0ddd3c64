"""Changes of the weights. Large ones precede a collapse of the model, which its answers show late.

W0 and W are an edited matrix before and after the edits. The first three are the greatest over all
edited matrices.

norm_ratio      ‖W‖_F / ‖W0‖_F, or its inverse where that is greater
spectral_ratio  ratio of the greatest singular values of W and W0
effective_rank  effective rank of W - W0: exp of the entropy of its singular values (Roy and
                Vetterli 2007)
energy          relative change of a module's output on held-out text, Σ‖m(x) - m0(x)‖² / Σ‖m0(x)‖²,
                of the module where it is greatest; mean over texts
non_finite      number of edited values that are infinite or NaN
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
"""Steps of the power iteration."""


def questions(cases: CaseSet, config: EvaluateConfig) -> Iterable[Question]:
    """No questions: this family reads text scores and weights."""
    return ()


def score(answer_set: AnswerSet) -> Scores:
    """`energy` of the scored texts. `monitors` computes the other numbers, from the weights."""
    energies = {k: text.energy for k, text in answer_set.texts.items() if text.energy is not None}
    protocol = answer_set.protocol("none", "norm", "texts")
    energy = Measured(
        items=energies, protocol=protocol, num_questions=len(energies), is_share=False
    )
    return {"energy": energy}


def monitors(base: Checkpoint, edited: Checkpoint, names: Iterable[str]) -> Mapping[str, Metric]:
    """All numbers but `energy`, over the matrices `names`, which are read from both checkpoints.

    A matrix with values that are not finite counts in `non_finite` and is left out of the others.
    """
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
    """a / b for a, b ≥ 0. 1 where both are 0, infinite where only b is 0."""
    return a / b if b else 1.0 if a == b else math.inf


def spectral_norm(matrix: Tensor) -> float:
    """Greatest singular value of a matrix, by power iteration from a fixed start vector.

    The result is at most the true value. It is the closer to it, the larger the gap to the second
    singular value.
    """
    v = torch.linspace(1, 2, matrix.shape[1], dtype=matrix.dtype)
    for _ in range(POWER_STEPS):
        v = matrix.T @ (matrix @ (v / v.norm().clamp(min=torch.finfo(v.dtype).tiny)))
    return float(v.norm().sqrt())


def effective_rank(matrix: Tensor) -> float:
    """exp(-Σ p_i ln p_i) with p_i = s_i / Σ s, s the singular values. 0 for a matrix of zeros."""
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    sigma = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    if not float(sigma.sum()):
        return 0.0
    share = sigma / sigma.sum()
    return float((-(share * share.clamp(min=1e-300).log()).sum()).exp())
