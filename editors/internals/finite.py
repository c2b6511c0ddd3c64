"""Values that are not finite: which tensor of a model has them, or which block makes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infra.distributed.zero import gathered
from infra.errors import ModelError


def require_finite(where: str, block: nn.Module, before: Tensor, after: Tensor) -> None:
    """Raise ModelError where a block's output has NaN or infinity, or so large values that sums of
    their squares, which norms and statistics are made of, have.

    where   the block or its projection, for the message
    before  hidden states that the block was given
    after   what it returned, or what its projection was given

    Named is the block's weight that is not finite, else what was given or computed.
    """
    if _sums(after):
        return
    if not _sums(before):
        raise ModelError(
            f"{where} is given values that are not finite: the embeddings have some. Restore the "
            "checkpoint's files."
        )
    bad = not_finite(block)
    if bad:
        raise ModelError(
            f"{where}: its weight {bad} has values that are not finite. Restore the checkpoint's "
            "files."
        )
    raise ModelError(
        f"{where} makes values that are not finite in {after.dtype} of weights that are: its "
        "weights are too large. Restore the checkpoint's files, or compute in a wider dtype."
    )


def _sums(states: Tensor) -> bool:
    """Whether the sum of the squares is finite, in float32 or wider."""
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    return bool(wide.square().sum().isfinite())


def not_finite(model: nn.Module) -> str:
    """Name of the first parameter with a value that is not finite; empty where there is none."""
    for name, parameter in model.named_parameters():
        with gathered([parameter]):
            total = parameter.sum(dtype=torch.float32)  # faster; of finite values it may overflow
            if not bool(total.isfinite()) and not bool(parameter.isfinite().all()):
                return name
    return ""
