"""Finding where a decoder may be edited, by running it once and watching its modules."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd
from transformers import Cache
from transformers.cache_utils import DynamicLayer
from transformers.pytorch_utils import Conv1D

from editors.internals.architecture import Architecture, Block, Projection
from editors.internals.finite import require_finite
from editors.internals.forward import Call, frozen, recorded, shifted, tensor_of
from infra.distributed.zero import gathered, whole_shape
from infra.errors import ModelError
from infra.models.cache import empty_cache, keeps_nothing
from infra.models.library import first_line

PROBE_TOKENS = 4


def discover(model: Any) -> Architecture:
    """Take a causal language model apart; a few passes over four tokens.

    Raises ModelError, naming what was met, for encoder-decoders, quantised weights, adapters,
    values that are not finite, and models none of whose blocks has a projection to edit.
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
    decoder, modules = _decoder(model, config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        if 0 in whole_shape(parameter):
            raise ModelError(f"{names[id(parameter)]} is empty: load the model's weights first.")
    takes_positions = "position_ids" in inspect.signature(decoder.forward).parameters
    bare = Architecture(model, decoder, (), takes_positions)
    with frozen(model), torch.no_grad():
        calls, keeps_states, shares_keys = _run(bare, modules, config)
        blocks = tuple(_block(i, module, calls, names) for i, module in enumerate(modules))
    reasons = [block.found for block in blocks if isinstance(block.found, str)]
    if len(reasons) == len(blocks):
        raise ModelError(reasons[0])
    return Architecture(model, decoder, blocks, takes_positions, keeps_states, shares_keys)


def _decoder(model: Any, config: Any) -> tuple[nn.Module, Sequence[nn.Module]]:
    """The module that runs the blocks, and the blocks: the only ModuleList of the configured number
    of modules in it.

    It is what `get_decoder` gives, or, where a class gives a model with a head of its own, the one
    module in there that has such a list and takes token ids.
    """
    given, num_layers = model.get_decoder(), getattr(config, "num_hidden_layers", None)
    lists = _lists(given, num_layers)
    if lists:
        owners = [given]
    else:
        owners = [
            module
            for module in given.modules()
            if _lists(module, num_layers)
            and "input_ids" in inspect.signature(module.forward).parameters
        ]
    if len(owners) == 1:
        lists = _lists(owners[0], num_layers)
    if len(owners) != 1 or len(lists) != 1:
        raise ModelError(
            f"{type(model).__name__}: found {len(lists)} lists of {num_layers} blocks in its "
            f"decoder {type(given).__name__}, need exactly one; such a model cannot be edited."
        )
    return owners[0], list(lists[0])


def _lists(module: nn.Module, num_layers: int | None) -> list[nn.ModuleList]:
    """The ModuleLists of so many modules directly in a module."""
    return [
        child
        for child in module.children()
        if isinstance(child, nn.ModuleList) and len(child) == num_layers
    ]


def _run(
    bare: Architecture, modules: Sequence[nn.Module], config: Any
) -> tuple[dict[str, Call], bool, bool]:
    """Run four tokens with everything recorded.

    Returns the calls by `block/path`, whether a block keeps something else than its own keys and
    values, and whether one uses those of another. Raises ModelError where the model does not run,
    where a block does not run exactly once on [1, T, d], or where its output is not finite.
    """
    kind = type(bare.model).__name__
    device = bare.model.get_input_embeddings().weight.device
    ids = torch.arange(1, PROBE_TOKENS + 1, device=device)[None] % config.vocab_size
    paths = {
        f"{index}/{path}": module
        for index, block in enumerate(modules)
        for path, module in block.named_modules()
    }
    times: Counter[int] = Counter()
    handles = [
        module.register_forward_hook(lambda *_, i=index: times.update([i]))
        for index, module in enumerate(modules)
    ]
    try:
        with recorded(paths) as calls:
            cache = empty_cache(bare.model)
            bare.hidden(ids, torch.ones_like(ids), cache=cache)
    except (MemoryError, torch.OutOfMemoryError):
        raise  # the machine's fault, which says nothing of the model
    except Exception as error:  # any module of any model
        raise ModelError(
            f"{kind} does not run on {PROBE_TOKENS} tokens with a cache ({first_line(error)}): "
            "it cannot be asked or edited."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    for index, module in enumerate(modules):
        where = f"block {index} ({type(module).__name__})"
        if times[index] != 1:
            raise ModelError(
                f"{where} runs {times[index]} times in one pass of {kind}, must run once: a change "
                "of it cannot be told apart from the others. Such a model cannot be edited."
            )
        output = tensor_of(calls[f"{index}/"].output)
        shape = tuple(getattr(output, "shape", ()))
        if shape[:2] != (1, PROBE_TOKENS) or len(shape) != 3:
            raise ModelError(
                f"{where} passes on states of shape {shape}, not [rows, tokens, hidden size]: "
                f"{kind} cannot be edited."
            )
        require_finite(where, module, calls[f"{index}/"].hidden, output)
    plain = [
        type(layer) is DynamicLayer and layer.get_seq_length() == PROBE_TOKENS
        for layer in cache.layers
    ]
    shares_keys = len(plain) < len(modules) or any(map(keeps_nothing, cache.layers))
    return calls, shares_keys or not all(plain), shares_keys


def _block(index: int, module: nn.Module, calls: dict[str, Call], names: dict[int, str]) -> Block:
    """One block, and its projection or why it has none that can be edited."""
    where = f"block {index} ({type(module).__name__})"
    own = {
        path.split("/", 1)[1]: call for path, call in calls.items() if path.startswith(f"{index}/")
    }
    for parameter in module.parameters():
        if not parameter.is_floating_point() or parameter.element_size() < 2:
            dtype = parameter.dtype
            raise ModelError(f"{where} has {dtype} weights: edit the unquantised base model.")
    is_tuple = isinstance(own[""].output, tuple)
    return Block(index, module, is_tuple, _projection(where, module, own, names))


def _projection(
    where: str, module: nn.Module, own: dict[str, Call], names: dict[int, str]
) -> Projection | str:
    """The projection that a block's MLP ends with, or why it has none that can be edited.

    Of several linear modules that end in the hidden size and mix no tokens, it is the one with the
    widest input, the last of equals: others bring in an embedding of each layer's own (Gemma 4) or
    what experts share.
    """
    width = tensor_of(own[""].output).shape[-1]
    found = [
        path
        for path in own
        if isinstance(child := module.get_submodule(path), nn.Linear | Conv1D)
        and tensor_of(own[path].output).shape[-1] == width
        and not _mixes_tokens(module, own, path.split(".")[0])
        and id(child.weight) in names
    ]
    apart = [path for path in found if own[path].output.ndim == 3]
    if not apart and _routes(module, own):
        return f"{where} routes tokens to experts; closed-form edits need a dense MLP."
    if not found:
        return f"{where} has no MLP that ends in a linear module; it cannot be edited."
    if not apart:
        return f"{where}: {found[-1]} runs on flattened tokens; its tokens cannot be told apart."
    widest = max(own[path].args[0].shape[-1] for path in apart)
    path = [path for path in apart if own[path].args[0].shape[-1] == widest][-1]
    projection, call = module.get_submodule(path), own[path]
    require_finite(where, module, own[""].hidden, call.args[0])
    if not _close(_product(projection, call.args[0]), call.output):
        raise ModelError(
            f"{where}: {path} does more than multiply by its weight (an adapter?); merge it."
        )
    name = names[id(projection.get_parameter("weight"))]
    gain = _gain(module, projection, own[""], call.output)
    return Projection(name, projection, isinstance(projection, Conv1D), gain)


def _routes(module: nn.Module, calls: dict[str, Call]) -> bool:
    """Whether a block sends tokens to experts: modules of a list that did not run, or weights of
    many in one tensor."""
    for path, child in module.named_modules():
        listed = range(len(child)) if isinstance(child, nn.ModuleList) and len(child) > 1 else ()
        own = [] if isinstance(child, _ConvNd) else child.parameters(recurse=False)
        if any(f"{path}.{i}" not in calls for i in listed) or any(
            len(whole_shape(parameter)) > 2 for parameter in own
        ):
            return True
    return False


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
