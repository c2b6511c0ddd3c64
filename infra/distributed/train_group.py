"""A group of processes on a Ray cluster, started by Ray Train."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.exceptions import RayError
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer

from infra.errors import CorrigendaError, StageError

MAX_RETRIES = 2
"""How often a group is started again of which a process died."""
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
    num_deaths = 0
    while True:
        trainer = TorchTrainer(
            work, torch_config=torch_config, scaling_config=scaling, run_config=run_config
        )
        made, error = _fit(trainer)
        if error is None:
            return made
        causes = _causes(error)
        own = next((cause for cause in causes if isinstance(cause, CorrigendaError)), None)
        if own is not None:
            raise own from error
        num_deaths += 1
        died = any(isinstance(cause, RayError) for cause in causes)
        if not died or num_deaths > MAX_RETRIES:
            how = f"lost a process {num_deaths} times" if died else "failed"
            raise StageError(
                f"a group of {size} processes {how} ({_line(causes[0])}). What was finished is "
                "kept: mend the cause (often memory) and run the same command again."
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


def _causes(error: Exception) -> list[Exception]:
    """What the processes of a group raised or died of; the error itself where that is not known."""
    if isinstance(error, WorkerGroupError):
        return [*error.worker_failures.values()] or [error]
    return [error.controller_failure] if isinstance(error, ControllerError) else [error]


def _line(error: Exception) -> str:
    """The first line of an error that says something, with the error's type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
