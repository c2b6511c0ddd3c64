"""Edits of a plan, as tests want them."""

from __future__ import annotations

from typing import Any

from pipeline.plan.edits import PlannedEdit


def planned_edit(edit_id: str, label: str, **settings: Any) -> PlannedEdit:
    """A lesson about one subject: `label plays for` a club; settings replace any field."""
    defaults: dict[str, Any] = {
        "id": edit_id,
        "action": "teach",
        "subject": label,
        "subject_label": label,
        "relation": "P54",
        "prompt": f"{label} plays for",
        "subject_start": 0,
        "subject_end": len(label),
        "target": "Club",
        "target_value": "Q1",
        "accepted": ("Club",),
        "old_targets": (),
        "held_out": (),
        "unrelated": (),
        "since": "1",
        "priority": 1.0,
        "reason": "",
        "change_id": "",
        "source": "test",
        "statement": None,
        "revision": None,
        "revision_time": None,
        "references": (),
    }
    return PlannedEdit(**{**defaults, **settings})
