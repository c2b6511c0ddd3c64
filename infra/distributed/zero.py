"""A model whose weights are spread over a group of processes: DeepSpeed ZeRO-3 (arXiv:1910.02054).

A weight is whole on every rank only while its module runs; at other times it has shape (0,). So a
weight is used through calls of its module, which all ranks make in the same order, or inside
`gathered`. Each forward pass must be followed by its backward pass: after two forward passes in a
row DeepSpeed does not drop the weights of the first. DeepSpeed is imported here only, and only when
a model is to be sharded, because the import is slow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infra.distributed.group import TIMEOUT_S, DistributedGroup, local_device
from infra.errors import ConfigError
from infra.models.loading import load

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Dtypes that a model can be sharded in. DeepSpeed silently turns float64 into float32."""


@dataclass(frozen=True, slots=True)
class ShardedModel:
    """A model whose weights are spread over a group, as one rank sees it."""

    model: Any
    """In eval mode, gradients off. Call it or its modules, never DeepSpeed's engine: after the
    engine's forward a plain `backward` raises."""
    tokenizer: Any
    group: DistributedGroup
    """The ranks that hold the weights."""


@contextmanager
def load_sharded(
    path: Path,
    *,
    dtype: torch.dtype,
    device: str = "cpu",
    timeout_s: float = TIMEOUT_S,
) -> Iterator[ShardedModel]:
    """Load a checkpoint directory with its weights spread over the ranks of a group.

    Every rank calls this, in a process started by torchrun or Ray Train; only rank 0 reads the
    weights from disk. One model at a time. A rank's part of the weights stays in memory until the
    process ends, because DeepSpeed keeps a list of modules.

    device     `cpu` (gloo), or `cuda` (NCCL, the GPU numbered LOCAL_RANK)
    timeout_s  seconds after which a collective fails

    Raises ConfigError outside a group of processes and for a dtype or device that is not available,
    ModelError for a directory that holds no decoder.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype={dtype} cannot be sharded; choose one of {DTYPES}.")
    where = local_device(device)
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # read when DeepSpeed is imported
    with _process_group(where, timeout_s):
        from deepspeed import initialize
        from transformers.integrations import HfDeepSpeedConfig
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        settings = _settings(dtype)
        kept = HfDeepSpeedConfig(settings)  # transformers holds it by a weak reference
        try:
            model, tokenizer = load(path, dtype=dtype, device=str(where))
            engine, *_ = initialize(model=model, config=settings)
            _forget_order(engine)
        finally:
            del kept
            unset_hf_deepspeed_config()
        try:
            yield ShardedModel(engine.module, tokenizer, DistributedGroup.current(where))
        finally:
            engine.destroy()


@contextmanager
def gathered(parameters: Iterable[Tensor | None], *, write: bool = False) -> Iterator[None]:
    """Inside the `with`, the given weights are whole on every rank.

    Parameters that are not sharded, and None, are left as they are. All ranks enter and leave
    together, and a weight is not gathered twice at a time. With `write`, all ranks make the same
    change and rank 0's is kept. Without it a change is lost; DeepSpeed raises for it unless it is
    made through `.data`.
    """
    found = [p for p in parameters if p is not None and hasattr(p, "ds_id")]
    if not found:
        yield
        return
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters(found, modifier_rank=0 if write else None):
        yield


def whole_shape(parameter: Tensor) -> tuple[int, ...]:
    """Shape of the whole weight, whether or not it is sharded."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


@contextmanager
def _process_group(device: torch.device, timeout_s: float) -> Iterator[None]:
    """Make torch.distributed's default process group, and end it behind the block.

    A group that exists already (Ray Train makes one) is used and not ended.
    """
    from torch import distributed

    ours = not distributed.is_initialized()
    if ours:
        backend = "gloo" if device.type == "cpu" else "nccl"
        distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    try:
        yield
    finally:
        if ours:
            distributed.destroy_process_group()


def _settings(dtype: torch.dtype) -> dict[str, Any]:
    """DeepSpeed's configuration for ZeRO-3."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "fp16": {"enabled": dtype == torch.float16},
        "zero_optimization": {
            "stage": 3,
            # No weight is kept whole: those that are would be sharded after their first use all
            # the same, since the order of modules is not traced.
            "stage3_param_persistence_threshold": 0,
            "enable_sanity_checks": True,
        },
    }


def _forget_order(engine: Any) -> None:
    """Turn off DeepSpeed's prefetching: a module's weights are gathered when it starts and dropped
    when it ends.

    At each call of the root module DeepSpeed compares the order of modules since the last call with
    the order it recorded before, to fetch weights early and to keep those that are used again soon.
    Here decoder, blocks and head are called separately, in an order that changes from phase to
    phase. Prefetching would keep half of the model whole, and compare orders over the network, for
    no gain.
    """
    engine.optimizer.fwd_pre_hook.remove()
