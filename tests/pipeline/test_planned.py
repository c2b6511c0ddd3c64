"""A plan's edits as cases."""

from __future__ import annotations

from typing import Any

from pipeline.edits import Neighbour, PlannedEdit
from pipeline.planned import case_set


def edit(name: str, **settings: Any) -> PlannedEdit:
    defaults: dict[str, Any] = {
        "id": name.encode().hex().zfill(16),
        "action": "teach",
        "subject": name,
        "subject_label": name,
        "relation": "P54",
        "prompt": f"{name} plays for",
        "subject_start": 0,
        "subject_end": len(name),
        "target": f"{name} FC",
        "target_value": f"{name} FC",
        "accepted": (f"{name} FC",),
        "old_targets": (),
        "held_out": (f"The club of {name} is",),
        "unrelated": (),
        "since": "1",
        "priority": 0.0,
        "reason": "",
        "change_id": name,
        "source": "people",
        "statement": None,
        "revision": None,
        "revision_time": None,
        "references": (),
    }
    return PlannedEdit(**{**defaults, **settings})


def neighbour(name: str, target: str) -> Neighbour:
    return Neighbour(
        id=name,
        relation="P54",
        prompt=f"{name} plays for",
        target="Own FC",
        accepted=("Own FC",),
        edited_target=target,
    )


def test_part_of_a_plan_has_the_neighbours_of_its_edits_only() -> None:
    """A search for culprits judges parts of a batch: neighbours of the other edits stay away."""
    edits = [edit("a"), edit("b")]
    near = [neighbour("n", "a FC"), neighbour("m", "b FC")]
    [alone] = case_set("t", edits[:1], [], near, num_alternatives=2).cases
    assert [query.prompt for query in alone.near] == ["n plays for"]
    both = case_set("t", edits, [], near, num_alternatives=2).cases
    assert sum(len(case.near) for case in both) == 2
