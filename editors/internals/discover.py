"""Finding where a decoder may be edited, by running it once and watching its modules."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.pytorch_utils import Conv1D

from editors.internals.architecture import Architecture, Block
from editors.internals.forward import Call, frozen, recorded, shifted, tensor_of
from infra.distributed.zero import gathered, whole_shape
from infra.errors import ModelError

PROBE_TOKENS = 4


def discover(model: Any) -> Architecture:
    """Take a causal language model apart; two passes over four tokens.

    Raises ModelError, naming what was met, for encoder-decoders, quantised weights, routed
    experts, blocks without an MLP, and recurrent or linear attention.
    """
    kind = type(model).__name__
    config = model.config.get_text_config()
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"{kind} is an encoder-decoder; only decoder-only models can be edited.")
    if getattr(model, "hf_quantizer", None) is not None or getattr(
        model.config, "quantization_config", None
    ):
        raise ModelError(
            f"{kind} is quantised; edit the unquantised base model, then quantise the release."
        )
    decoder = model.get_decoder()
    modules = _block_list(decoder, config.num_hidden_layers, kind)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        if 0 in whole_shape(parameter):
            raise ModelError(f"{names[id(parameter)]} is empty: load the model's weights first.")
    takes_positions = "position_ids" in inspect.signature(decoder.forward).parameters
    bare = Architecture(model, decoder, (), takes_positions)
    with frozen(model), torch.no_grad():
        blocks = _probe(bare, modules, names, config)
    return Architecture(model, decoder, blocks, takes_positions)


def _block_list(decoder: nn.Module, num_layers: int, kind: str) -> Sequence[nn.Module]:
    """The only ModuleList of `num_layers` modules of one type directly in the decoder."""
    lists = [
        module
        for module in decoder.children()
        if isinstance(module, nn.ModuleList) and len(module) == num_layers
    ]
    if len(lists) != 1:
        raise ModelError(
            f"{kind}: found {len(lists)} lists of {num_layers} blocks in its decoder "
            f"{type(decoder).__name__}, need exactly one."
        )
    return list(lists[0])


def _probe(
    bare: Architecture, modules: Sequence[nn.Module], names: dict[int, str], config: Any
) -> tuple[Block, ...]:
    """Run four tokens with everything recorded and read each block's structure from the calls."""
    device = bare.model.get_input_embeddings().weight.device
    ids = torch.arange(1, PROBE_TOKENS + 1, device=device)[None] % config.vocab_size
    cache = DynamicCache()
    paths = {
        f"{index}/{path}": module
        for index, block in enumerate(modules)
        for path, module in block.named_modules()
    }
    with recorded(paths) as calls:
        bare.hidden(ids, torch.ones_like(ids), cache=cache)
    lengths = [layer.get_seq_length() for layer in cache.layers if isinstance(layer, DynamicLayer)]
    if lengths != [PROBE_TOKENS] * len(modules):
        raise ModelError(
            f"{type(bare.model).__name__} does not keep keys and values of every block (recurrent, "
            "linear or shared attention): values cannot be optimised on it."
        )
    return tuple(_block(i, module, calls, names, config) for i, module in enumerate(modules))


def _block(
    index: int, module: nn.Module, calls: dict[str, Call], names: dict[int, str], config: Any
) -> Block:
    """One block: its projection, the projection's orientation, and the block's gain."""
    where = f"block {index} ({type(module).__name__})"
    own = {
        path.split("/", 1)[1]: call for path, call in calls.items() if path.startswith(f"{index}/")
    }
    _check_dense(where, module, own)
    candidates = [
        path
        for path in own
        if isinstance(child := module.get_submodule(path), nn.Linear | Conv1D)
        and tensor_of(own[path].output).shape[-1] == config.hidden_size
        and not _mixes_tokens(module, own, path.split(".")[0])
        and id(child.weight) in names
    ]
    if not candidates:
        raise ModelError(f"{where} has no MLP that ends in a linear module; it cannot be edited.")
    path = candidates[-1]
    projection = module.get_submodule(path)
    transposed = isinstance(projection, Conv1D)
    weight = projection.get_parameter("weight")
    call = own[path]
    if call.output.ndim != 3:
        raise ModelError(
            f"{where}: {path} runs on flattened tokens; its tokens cannot be told apart."
        )
    if not _close(_product(projection, call.args[0]), call.output):
        raise ModelError(
            f"{where}: {path} does more than multiply by its weight (an adapter?); merge it."
        )
    return Block(
        index=index,
        module=module,
        name=names[id(weight)],
        projection=projection,
        transposed=transposed,
        gain=_gain(module, projection, own[""], call.output),
        returns_tuple=isinstance(own[""].output, tuple),
    )


def _check_dense(where: str, module: nn.Module, calls: dict[str, Call]) -> None:
    """Raise ModelError for a block with experts or with quantised weights."""
    routed = [
        path
        for path, child in module.named_modules()
        if isinstance(child, nn.Linear | Conv1D) and path not in calls
    ]
    if routed or any(len(whole_shape(parameter)) > 2 for parameter in module.parameters()):
        raise ModelError(f"{where} routes tokens to experts; closed-form edits need a dense MLP.")
    for parameter in module.parameters():
        if not parameter.is_floating_point() or parameter.element_size() < 2:
            dtype = parameter.dtype
            raise ModelError(f"{where} has {dtype} weights: edit the unquantised base model.")


def _product(projection: nn.Module, inputs: Tensor) -> Tensor:
    """What the projection's weight and bias make of the inputs, computed from them alone."""
    weight = projection.get_parameter("weight")
    bias = projection.bias if isinstance(projection.bias, Tensor) else None
    with gathered([weight, bias]):
        return F.linear(inputs, weight.T if isinstance(projection, Conv1D) else weight, bias)


def _mixes_tokens(block: nn.Module, calls: dict[str, Call], child: str) -> bool:
    """Whether a direct child lets tokens see earlier ones, as attention and scans do."""
    call = calls[child]
    module = block.get_submodule(child)

    def perturbed(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point():
            value = value.clone()
            value[:, 0] += value[:, 0].abs().mean() + 1
        return value

    if any(isinstance(value, Cache) for value in (*call.args, *call.kwargs.values())):
        return True
    args = tuple(perturbed(value) for value in call.args)
    kwargs = {name: perturbed(value) for name, value in call.kwargs.items()}
    before, after = tensor_of(call.output), tensor_of(module(*args, **kwargs))
    return not _close(before[:, -1], after[:, -1])


def _gain(block: nn.Module, projection: nn.Module, call: Call, output: Tensor) -> float | None:
    """c where a block's output moves by c r when its projection's moves by r; else None."""
    kwargs = {
        name: None if isinstance(value, Cache) else value for name, value in call.kwargs.items()
    }
    args = tuple(None if isinstance(value, Cache) else value for value in call.args)
    call = Call(args, kwargs, call.output)
    before = call.replay(block, call.hidden)
    nudge = torch.cos(torch.arange(output.shape[-1], device=output.device)).to(output.dtype)
    size = 10 * before.abs().mean() + output.abs().mean()
    gains: list[float] = []
    for token in (1, PROBE_TOKENS - 1):
        for sign in (1.0, -2.0):
            r_D = sign * size * nudge
            with shifted(projection, lambda out, t=token, r=r_D: _added(out, t, r)):
                moved = call.replay(block, call.hidden)
            step_D = (moved - before)[0, token].double()
            gain = float(step_D @ r_D.double() / (r_D.double() @ r_D.double()))
            off = (step_D - gain * r_D.double()).norm() / step_D.norm().clamp(min=1e-30)
            if not off < (0.05 if output.element_size() < 4 else 1e-3):
                return None
            gains.append(gain)
    if max(gains) - min(gains) > 0.02 * abs(gains[0]):
        return None
    gain = sum(gains) / len(gains)
    return 1.0 if abs(gain - 1) < 0.01 else gain


def _added(output: Tensor, token: int, r_D: Tensor) -> Tensor:
    output = output.clone()
    output[:, token] += r_D
    return output


def _close(one: Tensor, other: Tensor) -> bool:
    """Equal within the rounding of one product, relative to the largest entry."""
    eps = torch.finfo(one.dtype).eps
    return torch.allclose(one, other, rtol=8 * eps, atol=64 * eps * float(other.abs().max()))
