"""Changes, verdicts and plans of few words, for the tests of the plan and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from discovery.facts.change import Change
from discovery.probe.intake import Intake
from discovery.probe.output import Verdict
from discovery.probe.route import RouteConfig
from discovery.relations.relation import load_relations
from discovery.trust.assessment import Assessment
from discovery.trust.subjects import Subjects
from pipeline.plan.config import PlanConfig
from pipeline.plan.lanes import UNBOUNDED
from pipeline.plan.output import Plan
from pipeline.plan.stage import Situation, make_plan

RELATIONS = load_relations()
NOBODY = Subjects.of([], day=0)
"""A snapshot that watches none of the sources."""


def change(number: int, **settings: Any) -> Change:
    """That person `number` plays for a club."""
    defaults: dict[str, Any] = {
        "id": f"{number:016x}",
        "kind": "learn",
        "rule": "18",
        "reason": "it began",
        "subject": f"Q{number}",
        "subject_label": f"Person {number}",
        "relation": "P54",
        "value_type": "entity",
        "new_value": f"Q9{number}",
        "new_label": f"Club {number}",
        "source": "test",
    }
    return Change(**{**defaults, **settings})


def verdict(c: Change, kind: Any = "unknown", confidence: float = 0.5) -> Verdict:
    return Verdict(change_id=c.id, verdict=kind, reason="because", confidence=confidence)


def situation(
    changes: Sequence[Change],
    kinds: Sequence[Any],
    *,
    states: dict[str, Assessment] | None = None,
    **more: Any,
) -> Situation:
    """Changes with the model's verdicts on them, None where it was not asked."""
    asked = {c.id: verdict(c, k) for c, k in zip(changes, kinds, strict=True) if k}
    intake = Intake(list(changes), states or {}, [], {}, {}, [], list(asked))
    settings = {"subjects": NOBODY, "relations": RELATIONS, **more}
    return Situation(intake=intake, verdicts=asked, **settings)


def planned(
    changes: Sequence[Change], kinds: Sequence[Any], *, version: str = "v1", **settings: Any
) -> Plan:
    """The plan of a situation; settings are of the situation, the plan, the route or the lanes."""
    fields = PlanConfig.model_fields.keys()
    policy = {k: settings.pop(k) for k in list(settings) if k in fields}
    route = settings.pop("route", RouteConfig())
    approve = frozenset(settings.pop("approve", ()))
    lanes = settings.pop("lanes", UNBOUNDED)
    set_aside = frozenset(settings.pop("set_aside", ()))
    return make_plan(
        situation(changes, kinds, **settings),
        version=version,
        line="l",
        config=PlanConfig(**{"teach_unknown": True, **policy}),
        route=route,
        approve=approve,
        lanes=lanes,
        set_aside=set_aside,
    )


def held(c: Change, state: Any = "held", rule: str = "quorum") -> Assessment:
    """An assessment of one finding."""
    return Assessment(c.id, state, (rule,), (state,), (f"because of {rule}",))


def fate(made: Plan, changes: Sequence[Change]) -> dict[str, list[str]]:
    """By change id, the lists of the plan that a change is in."""
    new = [edit.change_id for edit in made.edits if edit.action != "carry"]
    lists = {
        "edit": new,
        "held": [h.change.id for h in made.held],
        "refused": [r.change_id for r in made.refusals],
        "sheet": list(made.routed),
        "kept": [c.id for c in changes if c.kind == "keep"],
    }
    return {c.id: [name for name, ids in lists.items() if c.id in ids] for c in changes}


def moved(c: Change, **settings: Any) -> Change:
    """The same fact with a new value."""
    defaults: dict[str, Any] = {
        "id": f"{int(c.id, 16) + 0xF000:016x}",
        "kind": "replace",
        "rule": "11",
        "old_values": (c.new_value,),
        "old_labels": (c.new_label,),
        "new_value": "Q777",
        "new_label": "Club Seven",
    }
    return replace(c, **{**defaults, **settings})
