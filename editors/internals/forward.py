"""Running parts of a model: frozen, some modules' forward substituted, what passes recorded.

Every context manager here leaves the model exactly as it found it, exceptions included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Forward = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module: what it was given and what it returned."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    @property
    def hidden(self) -> Tensor:
        """The hidden states given, [rows, tokens, d]: first argument, or the one named so."""
        return self.args[0] if self.args else self.kwargs["hidden_states"]

    def replay(self, module: nn.Module, hidden: Tensor) -> Tensor:
        """Call `module` again on other hidden states with everything else as it was."""
        if self.args:
            return tensor_of(module(hidden, *self.args[1:], **self.kwargs))
        return tensor_of(module(**{**self.kwargs, "hidden_states": hidden}))


def tensor_of(output: Any) -> Tensor:
    """The hidden states a block returned: its output, or the first of a tuple (GPT-J, BLOOM)."""
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def substituted(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Let each module answer with the given function instead of its own `forward`.

    The module stays in its list and keeps its attributes, which models read (`attention_type`).
    """
    earlier = {module: module.__dict__.get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.__dict__["forward"] = forward
        yield
    finally:
        for module, forward in earlier.items():
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward


@contextmanager
def recorded(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Call]]:
    """Record the last call of each module under its name, in the order in which they finished."""
    calls: dict[str, Call] = {}

    def record(name: str) -> Forward:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if isinstance(output, Tensor):
                output = output.clone()  # Falcon adds to it in place
            calls.pop(name, None)
            calls[name] = Call(args, kwargs, output)

        return hook

    handles = [
        module.register_forward_hook(record(name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def shifted(module: nn.Module, shift: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let `shift` change what a projection returns, or the hidden states that a block does."""

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        moved = shift(tensor_of(output))
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def leaf_output(module: nn.Module) -> Iterator[list[Tensor]]:
    """Make what a module returns a leaf that wants a gradient; the list holds the last one."""
    leaf: list[Tensor] = []

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        leaf[:] = [tensor_of(output).detach().requires_grad_(True)]
        return (leaf[0], *output[1:]) if isinstance(output, tuple) else leaf[0]

    handle = module.register_forward_hook(hook)
    try:
        yield leaf
    finally:
        handle.remove()


@contextmanager
def changed(projection: nn.Module, change_IO: Tensor) -> Iterator[None]:
    """Let `projection` answer as if `change_IO` [I, O] were added to what it multiplies by.

    The weight itself is not touched, so this works on sharded models and rounds nothing away.
    """

    def hook(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        more = args[0].to(change_IO.dtype) @ change_IO
        return (output.to(change_IO.dtype) + more).to(output.dtype)

    handle = projection.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def plain_attention(model: Any) -> Iterator[None]:
    """Attention as plain products where the fused kernel is slow: on a CPU.

    Its backward pass over a few tokens of many rows takes twenty times as long as the products do.
    Those have a softmax in float32, so a float64 model is left as it is.
    """
    before = model.config._attn_implementation
    weight = model.get_input_embeddings().weight
    if weight.device.type != "cpu" or before != "sdpa" or weight.dtype == torch.float64:
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradient for any parameter; both put back afterwards."""
    training = [module for module in model.modules() if module.training]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for module in training:
            module.training = True


def passed_on(*, as_tuple: bool) -> Forward:
    """A block's forward that returns its hidden states unchanged, in its own output type."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        return (hidden, None) if as_tuple else hidden

    return forward


def answering(state: Tensor, *, as_tuple: bool) -> Forward:
    """A block's forward that returns `state` whatever it is given."""

    def forward(*_args: Any, **_kwargs: Any) -> Any:
        return (state, None) if as_tuple else state

    return forward


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """Where offsets, norms and losses of a model of `dtype` are kept: at least float32."""
    return torch.promote_types(dtype, torch.float32)
