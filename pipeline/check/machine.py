"""Whether disk and memory are enough for what a run makes, by an estimate in bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from discovery.sources import SourceConfig
from infra.execution.capacity import free_bytes, memory_bytes
from infra.lm.inference import Compute
from pipeline.check.model import ModelCheck

MODELS_A_WORKER = 2
"""Models that a worker of the evaluation holds at a time: the candidate, and what it is compared
with."""
FLOAT_BYTES = 4
"""Bytes of a number in the editor's statistics."""
GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCheck:
    """What a run needs of disk and memory, and what there is. Sizes in bytes."""

    free_bytes: int
    """Free on the file system of the workspace."""
    num_releases: int
    """Releases that are not made yet."""
    release_bytes: int
    """Of the weights of each; unchanged files count where the file system makes no clones."""
    snapshot_bytes: int
    """Of crawls and snapshots: about as much as the local files of the sources."""
    statistics_bytes: int
    """Of the editor's statistics, which are kept between editions."""
    memory_bytes: int
    """Memory of this machine."""
    worker_bytes: int
    """Of the models that one worker holds at a time."""
    workers: int | None
    """Workers that run at a time; None where that is not known."""
    gpu_bytes: int | None
    """Memory of the GPU; None where none is used."""
    stops: tuple[str, ...] = ()
    """What would stop a run, one line each."""
    warnings: tuple[str, ...] = ()
    """What may stop it."""

    @property
    def needed_bytes(self) -> int:
        """Of disk, in all."""
        return (
            self.num_releases * (self.release_bytes + self.snapshot_bytes) + self.statistics_bytes
        )


def check_machine(
    model: ModelCheck,
    *,
    workspace: Path,
    sources: Sequence[SourceConfig],
    base_dir: Path,
    compute: Compute,
    num_releases: int,
    workers: int | None,
    num_edited_layers: int,
) -> MachineCheck:
    """Compare what a run needs with what there is.

    workspace          directory of the outputs, which need not exist
    num_releases       releases that are not made yet
    workers            that run at a time; None where the work runs elsewhere
    num_edited_layers  layers that the editor keeps statistics of
    """
    held = MODELS_A_WORKER * (model.computed_bytes or 0)
    on_gpu = compute.device.startswith("cuda") and torch.cuda.is_available()
    place = compute.device if ":" in compute.device else None
    found = MachineCheck(
        free_bytes=free_bytes(workspace),
        num_releases=num_releases,
        release_bytes=model.release_bytes or model.weights_bytes or model.download_bytes or 0,
        snapshot_bytes=sum(_local_bytes(source, base_dir) for source in sources),
        statistics_bytes=num_edited_layers * (model.inner_size or 0) ** 2 * FLOAT_BYTES,
        memory_bytes=memory_bytes(),
        worker_bytes=held,
        workers=workers,
        gpu_bytes=torch.cuda.get_device_properties(place).total_memory if on_gpu else None,
    )
    stops, warnings = [], []
    if found.needed_bytes > found.free_bytes:
        stops.append(
            f"disk: about {found.needed_bytes / GB:.1f} GB are needed and "
            f"{found.free_bytes / GB:.1f} GB are free at {workspace}. Free some, or give another "
            "`workspace`."
        )
    room = found.memory_bytes if found.gpu_bytes is None else found.gpu_bytes
    name = "memory" if found.gpu_bytes is None else "memory of the GPU"
    if workers is not None and held > room:
        stops.append(
            f"{name}: a worker holds {held / GB:.1f} GB of models and there are {room / GB:.1f} "
            "GB. Give a smaller model, a narrower `dtype` or a larger machine."
        )
    elif workers is not None and found.gpu_bytes is None and workers * held > room:
        warnings.append(
            f"{name}: {workers} workers hold {workers * held / GB:.1f} GB of models and there are "
            f"{room / GB:.1f} GB. Set a greater `threads` in [model], so that fewer workers run."
        )
    return replace(found, stops=tuple(stops), warnings=tuple(warnings))


def _local_bytes(source: SourceConfig, base_dir: Path) -> int:
    """Size of the local files of a source; those that are missing count as empty."""
    paths = source.local_paths(base_dir) or ()
    return sum(os.path.getsize(path) for path in paths if path.is_file())
