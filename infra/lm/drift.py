"""How far the outputs of a model's modules are from another model's, on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def measure_drift(reference: Any, model: Any, *, skip: int = 0) -> Iterator[dict[str, float]]:
    """Inside the `with`, a forward pass of `reference` fills the dictionary that this yields.

    skip  positions at the beginning that are left out: those of the tokens that the tokenizer puts
          in front of a text, where outputs may be far larger than at all others

    For each module m of `reference` whose matrix has other weights in `model`, in the rows that
    both have, by its name:
    ‖m'(x) - m(x)‖² / ‖m(x)‖², where m' is the module of that name in `model` and x is the input
    that m got in the last pass. Empty where all matrices are equal.
    """
    others = dict(model.named_modules())
    energies: dict[str, float] = {}

    def compare(name: str) -> Callable[..., None]:
        def hook(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            own = output[..., skip:, :].float()
            new = others[name](*inputs)[..., : output.shape[-1]]
            change = (new - output)[..., skip:, :].float()
            energies[name] = float(change.square().sum() / own.square().sum())

        return hook

    hooks = [
        module.register_forward_hook(compare(name))
        for name, module in reference.named_modules()
        if _has_other_weights(module, others[name])
    ]
    try:
        yield energies
    finally:
        for hook in hooks:
            hook.remove()


def _has_other_weights(module: Any, other: Any) -> bool:
    """Whether a module's own matrix differs from the other's; a module without one does not."""
    weight = module._parameters.get("weight")
    return (
        weight is not None
        and weight.ndim == 2
        and not torch.equal(weight, other._parameters["weight"][: len(weight)])
    )
