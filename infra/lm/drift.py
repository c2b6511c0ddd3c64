"""How far a model's modules have moved from another's, on the other's own inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def compared(reference: Any, model: Any) -> Iterator[dict[str, float]]:
    """While `reference` runs, what each module that differs in `model` would make of the same
    input: by name, the energy of the difference over that of the reference's own output."""
    others = dict(model.named_modules())
    energies: dict[str, float] = {}

    def compare(name: str) -> Callable[..., None]:
        def hook(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            change = (others[name](*inputs) - output).float()
            energies[name] = float(change.square().sum() / output.float().square().sum())

        return hook

    hooks = [
        module.register_forward_hook(compare(name))
        for name, module in reference.named_modules()
        if _differs(module, others[name])
    ]
    try:
        yield energies
    finally:
        for hook in hooks:
            hook.remove()


def _differs(module: Any, other: Any) -> bool:
    """Whether a module's own matrix has other weights."""
    weight = module._parameters.get("weight")
    return (
        weight is not None
        and weight.ndim == 2
        and not torch.equal(weight, other._parameters["weight"])
    )
