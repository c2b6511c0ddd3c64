"""A group of processes on a Ray cluster, started by Ray Train."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import PlacementGroupID
from ray.exceptions import RayError
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.placement_group import (
    PlacementGroup,
    placement_group_table,
    remove_placement_group,
)

from infra.errors import CorrigendaError, StageError

MAX_RETRIES = 2
"""How often a group is started again of which a process died."""
LOST = (RayError, RuntimeError)
"""What is raised for a process that died, and in the others whose collective failed by that."""
START_FAILURES = 4
"""How often Ray Train tries again to start the processes; each time it waits a minute for room."""


def run_train_group(
    work: Callable[[], Any],
    *,
    size: int,
    num_cpus: int,
    num_gpus: float,
    folder: Path,
    timeout_s: float,
) -> Any:
    """Call `work` in `size` new processes, which are torch.distributed's default process group;
    return the result of rank 0.

    work       picklable and idempotent: where a process dies, it is called again in new ones
    num_cpus   CPUs of a process
    num_gpus   GPUs of a process; the group speaks NCCL with them, and gloo without
    folder     directory that all nodes see; Ray Train writes a marker of no bytes there
    timeout_s  seconds after which a collective fails

    Raises the error of ours that a process raised, and StageError for any other fault of the group.
    """
    run_config = RunConfig(
        name=f"group-{uuid.uuid4().hex[:8]}",
        storage_path=str(folder),
        failure_config=FailureConfig(
            max_failures=0,
            controller_failure_limit=START_FAILURES,
            max_preemption_failures=MAX_RETRIES,
        ),
    )
    scaling = ScalingConfig(
        num_workers=size,
        use_gpu=num_gpus > 0,
        resources_per_worker={"CPU": num_cpus} | ({"GPU": num_gpus} if num_gpus else {}),
    )
    torch_config = TorchConfig(backend="nccl" if num_gpus else "gloo", timeout_s=round(timeout_s))
    num_failures = 0
    while True:
        trainer = TorchTrainer(
            work, torch_config=torch_config, scaling_config=scaling, run_config=run_config
        )
        made, error = _fit(trainer)
        if error is None:
            return made
        _remove_placement_groups()
        causes = _causes(error)
        own = next((cause for cause in causes if isinstance(cause, CorrigendaError)), None)
        if own is not None:
            raise own from error
        num_failures += 1
        if num_failures > MAX_RETRIES or not any(isinstance(cause, LOST) for cause in causes):
            raise StageError(
                f"a group of {size} processes failed, at attempt {num_failures} "
                f"({_line(causes[0])}). What was finished is kept: mend the cause (often memory) "
                "and run the same command again."
            ) from error


def _fit(trainer: TorchTrainer) -> tuple[Any, Exception | None]:
    """What rank 0 returned, and the error of the group.

    The trainer is called in a thread: in the main thread it would replace this program's handler of
    SIGINT for good, and a signal would wait for the end of the group.
    """
    found: list[tuple[Any, Exception | None]] = []

    def fit() -> None:
        try:
            found.append((trainer.fit().return_value, None))
        except Exception as error:
            found.append((None, error))

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    thread.join()
    return found[0]


def _remove_placement_groups() -> None:
    """Free the CPUs and GPUs of this job's groups: Ray Train keeps them where a process dies in the
    moment in which it starts. The last digits of a placement group's id are those of its job."""
    job = ray.get_runtime_context().get_job_id()
    for number, about in placement_group_table().items():
        if number.endswith(job) and about["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(number))))


def _causes(error: Exception) -> list[Exception]:
    """What the processes of a group raised or died of; the error itself where that is not known."""
    if isinstance(error, WorkerGroupError):
        failures = error.worker_failures.values()
        return [getattr(one, "health_check_failure", one) for one in failures] or [error]
    return [error.controller_failure] if isinstance(error, ControllerError) else [error]


def _line(error: Exception) -> str:
    """The first line of an error that says something, with the error's type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
