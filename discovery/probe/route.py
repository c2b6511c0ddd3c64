"""Where a fact belongs: into weights, onto the fact sheet, on a calendar, or nowhere. Pure.

    weights      one object at a time, an entity or a short string, and the model errs or does not
                 know
    fact sheet   numbers and dates, sets, contested facts, long strings, facts the model never knew,
                 and what is over a budget: retrieval serves these
    scheduled    begins in the future: taken up again once its day has come
    none         nothing to teach, undecided, or known to the model

A route is asked for twice: of the change alone, before the model is asked anything, and of its
verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from discovery.facts.change import DERIVED, Change
from discovery.probe.beliefs.candidates import MAX_OBJECT_CHARS, why_not_askable
from discovery.probe.output import Verdict
from discovery.relations.relation import Relation

RouteName = Literal["weights", "fact sheet", "scheduled", "none"]


class RouteConfig(BaseModel):
    """What is never written into weights, beyond what cannot be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fact_sheet: tuple[str, ...] = ()
    """Ids of relations that always go to the fact sheet, for they change faster than releases
    come."""
    min_sitelinks: int = Field(default=0, ge=0)
    """Sitelinks of a subject below which an unknown fact is not taught but put on the fact sheet:
    few ask about it, and a model that never met the subject has little to attach it to. 0, for
    sources without sitelinks know of no tail."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a change goes, and why."""

    to: RouteName
    rule: str
    """Short, for counting."""
    reason: str
    """One sentence for a person."""


def route_change(change: Change, relations: Mapping[str, Relation], config: RouteConfig) -> Route:
    """The route as far as the change alone decides it; `weights` means that the model is asked."""
    relation = relations.get(change.relation)
    match change.kind:
        case "keep":
            return Route("none", "kept", change.reason)
        case "ignored" if change.rule == "7":
            return Route("scheduled", "future", f"scheduled: {change.reason}")
        case "ignored" if change.rule == "10":
            return Route("none", "undecided", f"undecided, to be tested again: {change.reason}")
        case "conflict" if change.rule == "1":
            return Route("none", "incoherent", f"conflict: {change.reason}")
        case "ignored" | "forget" | "vacated":
            return Route("none", change.kind, f"{change.kind}: {change.reason}")
    if change.rule == DERIVED:
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
    """The probe's own words for why a change cannot be asked."""
    return why_not_askable(change, relations) or "it cannot be said in a sentence"


def worth_asking(change: Change, rate: float) -> float:
    """Popularity x change rate of the relation: what chooses the changes to be probed.

    Popularity is 1 + log(1 + sitelinks), so that a source without sitelinks does not make the other
    factors nothing. rate is the share of the relation's subjects that change in an edition.
    """
    return (1 + log1p(change.popularity)) * rate


def priority(change: Change, verdict: Verdict, rate: float, trust: float) -> float:
    """Popularity x change rate x P(stale) x trust: what chooses the changes to be edited.

    Of a lesson, the confidence that the model does not know it stands in the place of P(stale).
    """
    asked = verdict.verdict == "stale" and verdict.p_stale is not None
    sure = verdict.p_stale if asked else verdict.confidence
    return worth_asking(change, rate) * (sure or 0.0) * trust


def labels(change: Change) -> tuple[str, ...]:
    """How the values that a change says hold now are called; none where one has no name."""
    if change.new_value is None:
        pairs = list(zip(change.old_values, change.old_labels, strict=True))
    else:
        pairs = [(change.new_value, change.new_label or "")]
    nameless = (
        not label or (change.value_type == "entity" and label == value) for value, label in pairs
    )
    return () if any(nameless) else tuple(label for _, label in pairs)
