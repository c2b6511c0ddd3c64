"""The route of a change: into weights, onto the fact sheet, scheduled, or none. Pure.

    weights      a relation of one object at a time, whose object is an entity or a short string
                 that the model gets wrong or does not know
    fact sheet   served by retrieval: numbers, dates, relations of several objects, contested facts,
                 long strings, facts that the model never knew, and what exceeds a budget
    scheduled    begins in the future; taken up again when its day has come
    none         nothing to teach, undecided, or known to the model

The route is decided twice: by the change alone, before the model is asked (`route_change`), and by
the verdict of the model's answers (`route_verdict`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from discovery.facts.change import Change, DiffRule
from discovery.probe.beliefs.candidates import MAX_OBJECT_CHARS, why_not_askable
from discovery.probe.output import Verdict
from discovery.relations.relation import Relation

RouteName = Literal["weights", "fact sheet", "scheduled", "none"]


class RouteConfig(BaseModel):
    """What goes to the fact sheet although it could be written into weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fact_sheet: tuple[str, ...] = ()
    """Ids of relations that always go to the fact sheet, because they change faster than releases
    are made."""
    min_sitelinks: int = Field(default=0, ge=0)
    """A fact that the model does not know goes to the fact sheet where its subject has fewer
    sitelinks than this: few people ask about it, and the model knows little of the subject to
    connect it with. The default 0 lets all through, since some sources have no sitelinks."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a change reaches the users of a model, and why."""

    to: RouteName
    rule: str
    """What decided it, in one or two words, for counting."""
    reason: str
    """One sentence for a person."""


def route_change(change: Change, relations: Mapping[str, Relation], config: RouteConfig) -> Route:
    """The route as far as the change alone decides it; `weights` if the model has to be asked."""
    relation = relations.get(change.relation)
    match change.kind:
        case "keep":
            return Route("none", "kept", change.reason)
        case "ignored" if change.rule == DiffRule.SCHEDULED:
            return Route("scheduled", "future", f"scheduled: {change.reason}")
        case "ignored" if change.rule == DiffRule.UNDECIDED:
            return Route("none", "undecided", f"undecided, to be tested again: {change.reason}")
        case "conflict" if change.rule == DiffRule.STARTS_AFTER_END:
            return Route("none", "incoherent", f"conflict: {change.reason}")
        case "ignored" | "forget" | "vacated":
            return Route("none", change.kind, f"{change.kind}: {change.reason}")
    if change.rule == DiffRule.DERIVED:
        return Route("none", "derived", screen_reason(change, relations))
    if relation is None:
        return Route("none", "no templates", screen_reason(change, relations))
    if change.subject_label is None or not labels(change):
        return Route("none", "no label", screen_reason(change, relations))
    if change.value_type == "other":
        return Route("none", "no words", "values of this type cannot be said in a sentence")
    where = f"{relation.label} ({relation.id})"
    if change.kind == "conflict":
        return Route("fact sheet", "contested", f"contested: {change.reason}")
    if change.relation in config.fact_sheet:
        return Route("fact sheet", "by policy", f"{where} goes to the fact sheet by policy")
    if change.value_type == "quantity":
        return Route("fact sheet", "number", f"{where} is a number, which changes too fast")
    if change.value_type == "time":
        return Route("fact sheet", "date", f"{where} is a date, which no prompt can end in")
    if change.scope:
        return Route("fact sheet", "scoped", screen_reason(change, relations))
    if not relation.functional:
        return Route("fact sheet", "set", f"{where} holds several values at once")
    if len(change.new_label or "") > MAX_OBJECT_CHARS:
        return Route(
            "fact sheet", "long", f"the object is longer than {MAX_OBJECT_CHARS} characters"
        )
    if (refused := why_not_askable(change, relations)) is not None:
        return Route("none", "not askable", refused)
    return Route("weights", "askable", "the model can be asked and edited")


def route_verdict(
    change: Change, verdict: Verdict, config: RouteConfig, *, teach_unknown: bool
) -> Route:
    """The route of a change that the model was asked about."""
    match verdict.verdict:
        case "stale":
            return Route("weights", "stale", f"stale: {verdict.reason}")
        case "inconsistent":
            return Route(
                "weights", "inconsistent", f"inconsistent, needs a person: {verdict.reason}"
            )
        case "knows":
            return Route("none", "knows", "the model knows it")
        case "unknown" if not teach_unknown:
            reason = "unknown to the model, and teach_unknown is off"
            return Route("fact sheet", "never known", reason)
        case "unknown" if change.popularity < config.min_sitelinks:
            reason = (
                f"unknown to the model, and {change.popularity} sitelinks are fewer than "
                f"{config.min_sitelinks}"
            )
            return Route("fact sheet", "never known", reason)
        case "unknown":
            return Route("weights", "unknown", f"unknown: {verdict.reason}")
    return Route("none", "not asked", verdict.reason)


def screen_reason(change: Change, relations: Mapping[str, Relation]) -> str:
    """Why a change cannot be put to the model, as a sentence for a person."""
    return why_not_askable(change, relations) or "it cannot be said in a sentence"


def worth_asking(change: Change, rate: float) -> float:
    """Popularity x change rate: the changes with the highest product are probed.

    Popularity is 1 + log(1 + sitelinks), so that the product is not 0 for sources without
    sitelinks.

    rate  share of the relation's subjects that change in an edition, 0 to 1
    """
    return (1 + log1p(change.popularity)) * rate


def priority(change: Change, verdict: Verdict, rate: float, trust: float) -> float:
    """Popularity x change rate x P(stale) x trust: the changes with the highest product are edited.

    For a verdict other than `stale`, the confidence of the verdict takes the place of P(stale).

    rate   share of the relation's subjects that change in an edition, 0 to 1
    trust  weight of the assessment, 0 to 1
    """
    asked = verdict.verdict == "stale" and verdict.p_stale is not None
    sure = verdict.p_stale if asked else verdict.confidence
    return worth_asking(change, rate) * (sure or 0.0) * trust


def labels(change: Change) -> tuple[str, ...]:
    """Labels of the values that a change says are current; empty where one of them has no label."""
    if change.new_value is None:
        pairs = list(zip(change.old_values, change.old_labels, strict=True))
    else:
        pairs = [(change.new_value, change.new_label or "")]
    nameless = (
        not label or (change.value_type == "entity" and label == value) for value, label in pairs
    )
    return () if any(nameless) else tuple(label for _, label in pairs)
