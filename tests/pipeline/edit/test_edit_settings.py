"""What the settings of a group of processes may be, and that they do not change what is made."""

from __future__ import annotations

from typing import Any

import pytest

from editors import EDITORS
from infra.errors import ConfigError
from infra.execution.runner import InProcessRunner, Resources
from pipeline.edit.config import EditConfig, OverConfig, check_group


def test_where_the_work_is_done_is_no_part_of_the_result() -> None:
    """Workers and GPUs are not in the identity, so that a finished edition is found again with
    others; a sharded model and its number of workers are, for they change last digits."""
    one = EditConfig()
    assert EditConfig(workers=4, gpus_per_worker=0.5).identity() == one.identity()
    sharded = [EditConfig(workers=n, sharding="zero3").identity() for n in (1, 2)]
    assert sharded[0] != one.identity() and sharded[0] != sharded[1]


@pytest.mark.parametrize(
    ("settings", "device", "told"),
    [
        ({"editor": "errata", "sharding": "zero3"}, "cpu", "edit.sharding = 'zero3'"),
        (
            {"editor": "memit", "over": OverConfig(editor="errata"), "sharding": "zero3"},
            "cpu",
            "edit.over",
        ),
        ({"workers": 2}, "cuda:1", "model.device = 'cuda:1'"),
        ({"workers": 2, "gpus_per_worker": 0.5}, "cuda", "edit.gpus_per_worker = 0.5"),
    ],
)
def test_groups_that_cannot_work(settings: dict[str, Any], device: str, told: str) -> None:
    """An editor that needs whole weights in either lane, one GPU for several processes: one line
    that names the setting; and nothing is wrong without a group."""
    config = EditConfig(**settings)
    with pytest.raises(ConfigError, match=told):
        check_group(config, device)
    check_group(config.model_copy(update={"workers": 1, "sharding": "none"}), device)


def test_every_other_editor_can_be_sharded() -> None:
    """Only `errata`, whose delta is a longer embedding, needs whole weights."""
    for name in EDITORS:
        if name != "errata":
            check_group(EditConfig(editor=name, sharding="zero3", workers=2), "cpu")


def test_one_process_is_no_group() -> None:
    """Without Ray, more workers than one are refused by a line that says what to run."""
    runner = InProcessRunner()
    runner.require_group(1, Resources())
    with pytest.raises(ConfigError, match="torchrun --nproc-per-node 3 "):
        runner.require_group(3, Resources())
