"""A model whose weights are spread over a group of processes: DeepSpeed ZeRO-3 (arXiv:1910.02054).

Weights are there while their module runs and have shape (0,) between. So they are reached through
module calls, all ranks making the same ones, or inside `gathered`. One forward pass, then its
backward pass: after a second forward before it, DeepSpeed fails to drop the first one's weights.
DeepSpeed is imported here only, and only once a model is to be sharded: it is slow to import.
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

from infra.distributed.group import DistributedGroup
from infra.errors import ConfigError
from infra.models.loading import load

TIMEOUT_S = 300.0
"""A collective that takes longer has lost a rank."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""DeepSpeed makes float32 of float64 without a word."""


@dataclass(frozen=True, slots=True)
class Sharded:
    """One rank's part of a model."""

    model: Any
    """In eval mode, gradients off. Call it or its modules, never DeepSpeed's engine: under the
    engine's forward a plain `backward` raises."""
    tokenizer: Any
    group: DistributedGroup


@contextmanager
def sharded(
    path: Path,
    *,
    dtype: torch.dtype,
    device: str = "cpu",
    timeout_s: float = TIMEOUT_S,
) -> Iterator[Sharded]:
    """Load a checkpoint directory spread over the ranks; rank 0 alone reads the weights.

    Every rank calls this, started by torchrun or Ray Train. `device` is `cpu` (gloo) or `cuda`
    (NCCL, the GPU of LOCAL_RANK). One model at a time; its part stays in memory until the process
    ends, for DeepSpeed keeps a list of modules. Raises ConfigError outside a group or for a dtype
    or device that cannot be had, ModelError for a directory that is no decoder.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype={dtype} cannot be sharded; choose one of {DTYPES}.")
    where = _device(device)
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
            yield Sharded(engine.module, tokenizer, DistributedGroup.joined(where))
        finally:
            engine.destroy()


@contextmanager
def gathered(parameters: Iterable[Tensor | None], *, write: bool = False) -> Iterator[None]:
    """The whole weights inside the `with`; what is not sharded, or is None, is left as it is.

    All ranks enter and leave it together, and do not gather the same weight twice. With `write` all
    make the same change and rank 0's is kept; without, a change is lost, and refused where
    DeepSpeed sees it (not through `.data`).
    """
    found = [p for p in parameters if p is not None and hasattr(p, "ds_id")]
    if not found:
        yield
        return
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters(found, modifier_rank=0 if write else None):
        yield


def whole_shape(parameter: Tensor) -> tuple[int, ...]:
    """Shape of the whole weight, sharded or not."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def _device(device: str) -> torch.device:
    """This process's device, made the current one. Raises ConfigError."""
    missing = sorted({"RANK", "WORLD_SIZE", "LOCAL_RANK"} - os.environ.keys())
    if missing:
        raise ConfigError(
            f"no group of processes to shard over ({', '.join(missing)} not set). Start this with "
            "torchrun or Ray Train."
        )
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # read when DeepSpeed is imported
        return torch.device("cpu")
    index = int(os.environ["LOCAL_RANK"])
    if device != "cuda" or index >= torch.cuda.device_count():
        raise ConfigError(
            f"device={device!r} for the process {index} of this machine, which has "
            f"{torch.cuda.device_count()} GPUs. Give `cuda` and a GPU for each, or `cpu`."
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


@contextmanager
def _process_group(device: torch.device, timeout_s: float) -> Iterator[None]:
    """torch.distributed's default group; one that exists (Ray Train's) is used and left alone."""
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
    """DeepSpeed's configuration."""
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
    """Have every module's weights gathered as it starts and dropped as it ends, and no more.

    At each call of the root DeepSpeed would compare what ran since the last one with an earlier
    time, to fetch weights before they are needed and to keep those that come again soon. Here
    decoder, blocks and head are called apart, in an order that changes from phase to phase: it
    would keep half of the model whole, and compare orders over the network, for nothing.
    """
    engine.optimizer.fwd_pre_hook.remove()
