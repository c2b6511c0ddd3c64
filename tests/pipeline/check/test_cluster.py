"""What is said of the machine before Ray is started on it."""

from __future__ import annotations

import pytest

from infra.execution.capacity import num_cpus
from infra.execution.runner import Resources
from pipeline.check.cluster import check_cluster


@pytest.mark.parametrize("section", ["model", "edit"])
def test_more_threads_than_the_machine_has(section: str) -> None:
    """Ray would wait for a node that never comes; without Ray the threads share the CPUs."""
    wanted = {"model": 1, "edit": 1, section: num_cpus() + 1}
    needs = Resources(num_cpus=wanted["model"])
    found = check_cluster("local", needs, edit_needs=Resources(num_cpus=wanted["edit"]))
    assert len(found.stops) == 1 and found.stops[0].startswith(f"{section}.threads = ")
    assert not check_cluster("none", needs, edit_needs=Resources(num_cpus=wanted["edit"])).stops


def test_as_many_threads_as_the_machine_has() -> None:
    """Nothing stops a run."""
    needs = Resources(num_cpus=num_cpus())
    assert not check_cluster("local", needs, edit_needs=needs).stops


def test_a_group_larger_than_the_machine() -> None:
    """As many workers as there is room for, or the run stops; without Ray there is no group."""
    needs, room = Resources(), num_cpus()
    for address, size, stops in (
        ("local", room, False),
        ("local", room + 1, True),
        ("none", 1, True),
    ):
        found = check_cluster(address, needs, edit_needs=needs, edit_group=size)
        assert [stop.startswith(f"edit.workers = {size}") for stop in found.stops] == [True] * stops
