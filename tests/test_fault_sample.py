"""A bounded sample of `benchmarks/faults.py`, and how it is drawn."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.common.covering import Covering
from benchmarks.common.fault_states import CUTS
from benchmarks.faults import GROUPS

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Item:
    features: tuple[Hashable, ...]


def test_a_short_sample_has_every_feature() -> None:
    """Of 10 stages and 5 faults in all combinations, and one feature that is rare, the first eleven
    show each; the rest follows evenly, and all is given out once."""
    items = [Item((f"stage {s}", f"fault {f}")) for s in range(10) for f in range(5)] * 9
    items.append(Item(("stage 3", "rare")))
    order = Covering(items, seed=0)
    assert order.features == {feature for item in items for feature in item.features}
    taken = []
    while (item := order.take()) is not None:
        order.tried(item)
        taken.append(item)
        if len(taken) == 11:
            assert not order.missing()
        if len(taken) == 110:
            assert min(order.seen[f"stage {s}"] for s in range(10)) >= 9
    assert Counter(taken) == Counter(items)


def test_another_order_need_not_show_what_one_has_shown() -> None:
    """Two orders that share what was seen are at the end as soon as it is together."""
    seen: Counter[Hashable] = Counter()
    first = Covering([Item(("a", "x")), Item(("b", "x"))], 0, seen)
    second = Covering([Item(("a", "y")), Item(("b", "y"))], 0, seen)
    item = first.take()
    assert item is not None
    first.tried(item)
    other = second.take()
    assert other is not None and other.features[0] != item.features[0]
    second.tried(other)
    assert not first.missing() and not second.missing()


@pytest.mark.slow
def test_nothing_is_lost() -> None:
    """Full disks, power cuts, damaged files, kills and a dead process of a cluster: each kind of
    fault, and among them every stage and every kind of file. Every trial holds."""
    command = [sys.executable, "-m", "benchmarks.faults", "--sample", "--jobs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "| " in line]
    told = {name: dict(zip(rows[0][1:], row, strict=True)) for name, *row in rows[1:]}
    assert {*told} == {*GROUPS}
    for group, row in told.items():
        tried, features = row["kinds tried"].split(" of ")
        assert group == "process" or tried == features, row
        assert row["held"] == row["tried"], row
    assert int(told["power cut"]["tried"]) >= len(CUTS)
