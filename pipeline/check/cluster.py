"""Where the work would run, and how many workers would fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from infra.errors import StageError
from infra.execution.capacity import num_cpus
from infra.execution.placement import Node, no_room_for_group
from infra.execution.ray_address import require_reachable
from infra.execution.runner import Resources, no_group


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCheck:
    """What is known of the place that a run works in."""

    address: str
    """As of `--ray-address`."""
    cpus: int | None
    """CPUs of this machine; None for a cluster elsewhere, which tells only those who join it."""
    workers: int | None
    """Workers of the probe and evaluate stages that fit; likewise."""
    stops: tuple[str, ...] = ()
    """What would stop a run, one line each."""


def check_cluster(
    address: str, needs: Resources, *, edit_needs: Resources, edit_group: int = 0
) -> ClusterCheck:
    """Look at this machine, or connect to the address of a cluster; no Ray is started.

    needs       what a worker of the probe and evaluate stages needs of a machine
    edit_needs  what a worker of the edit stage needs
    edit_group  processes of the group that edits; 0 where none does
    """
    if address not in ("local", "none"):
        stops: tuple[str, ...] = ()
        try:
            require_reachable(address)
        except StageError as error:
            stops = (str(error),)
        return ClusterCheck(address=address, cpus=None, workers=None, stops=stops)
    cpus = num_cpus()
    fit = 1 if address == "none" else max(1, cpus // needs.num_cpus)
    if needs.num_gpus:
        fit = min(fit, max(1, int(torch.cuda.device_count() / needs.num_gpus)))
    stops = ()
    if needs.num_gpus and not torch.cuda.is_available():
        stops = ('model.device asks for a GPU and this machine has none. Set device = "cpu".',)
    threads = {"model": needs.num_cpus, "edit": edit_needs.num_cpus}
    if address == "local":
        stops += tuple(
            f"{section}.threads = {number}: Ray starts no worker with more CPUs than the {cpus} of "
            f"this machine. Set at most {cpus}, or pass --ray-address none."
            for section, number in threads.items()
            if number > cpus
        )
        here = Node(cpus=cpus, gpus=torch.cuda.device_count())
        if not stops and (fault := no_room_for_group([here], edit_needs, edit_group)):
            stops = (fault,)
    elif edit_group:
        stops += (str(no_group(edit_group)),)
    return ClusterCheck(address=address, cpus=cpus, workers=fit, stops=stops)
