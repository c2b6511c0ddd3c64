"""The bounds of a release, each with its reason; a setting of the config each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Bound(BaseModel):
    """One bound of the gate. A bare number in the config sets `bound` and leaves the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bound: float
    warn: float | None = None
    """A bound that only warns, before the one that counts."""
    action: Literal["block", "warn"] = "block"
    """What a failure does."""
    unproven: Literal["block", "warn", "pass"] = "block"
    """What a number does that is inside its bound while its interval is not."""
    why: str
    """The reason, for whoever is told of a failure."""


def _at(bound: float, why: str, **more: Any) -> Any:
    return Field(default=Bound(bound=bound, why=why, **more))


class GateConfig(BaseModel):
    """Bounds of a release. They belong to the base model: a small one needs weaker ones, which are
    printed as such with every release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ES: Bound = _at(0.90, "the target of a new edit must be the likeliest answer")
    """Least share of new edits whose target beats every alternative."""
    reliability: Bound = _at(0.70, "a preferred answer that is never given helps nobody")
    """Least share of new edits that the model answers right by itself."""
    PS: Bound = _at(0.60, "a fact known in one phrasing only is a memorised string")
    """Least share of held-out paraphrases on which the target beats every alternative."""
    generality: Bound = _at(0.50, "a fact must be given in other words too")
    """Least share of held-out paraphrases that the model answers right by itself."""
    worst_relation: Bound = _at(0.50, "means hide holes", unproven="warn")
    """Least reliability of any relation with thirty facts or more."""
    retention_drop: Bound = _at(0.05, "earlier releases' facts must survive")
    """Greatest fall, below the parent release, of the share of its facts answered right."""
    superseded: Bound = _at(0.05, "an old value must be gone", warn=0.0)
    """Greatest share of changed facts whose own prompt still gets an old value; one is a warning.
    """
    superseded_paraphrase: Bound = _at(0.10, "in other words too", warn=0.05)
    """Greatest share of paraphrases that get one."""
    NS_drop: Bound = _at(0.05, "facts about other subjects must not move")
    """Greatest fall of the neighbourhood score below the base's."""
    leak: Bound = _at(0.05, "other subjects must not get an edit's answer")
    """Greatest share of neighbours answered with the edit's target."""
    near_agreement: Bound = _at(0.90, "nor may what is said of them change")
    """Least share of neighbours whose continuation is the base's."""
    subject_agreement: Bound = _at(0.90, "the subject's other facts must not move")
    """Least share of the edited subjects' other prompts whose continuation is the base's."""
    neutral_agreement: Bound = _at(0.80, "general text must continue as it did", unproven="warn")
    """Least share of beginnings of general text whose continuation is the base's."""
    kl: Bound = _at(0.02, "predictions on general text must stay what they were")
    """Greatest KL drift, nats a token."""
    perplexity_ratio: Bound = _at(1.05, "general text must stay as likely as it was", warn=1.02)
    """Greatest perplexity on general text, as a ratio to the base's."""
    me_ppl_ratio: Bound = _at(1.10, "no sentence may become absurd", unproven="warn")
    """Greatest mean sentence perplexity, as a ratio to the base's."""
    norm_ratio: Bound = _at(1.5, "weights grow before a model collapses", warn=1.1)
    """Greatest ratio of an edited matrix's Frobenius norm to the base's, or its inverse."""
    effective_rank: Bound = _at(512, "an adapter of the change holds no more", action="warn")
    """Greatest effective rank of a change."""
    energy: Bound = _at(0.10, "edits must not answer for inputs that are not theirs", action="warn")
    """Greatest share of an edited module's output that has changed on general text."""
    non_finite: Bound = _at(0, "a value that is no number spoils every answer")
    """Edited values that are not finite."""
    contamination: Bound = _at(0, "what the editor has seen proves nothing")
    """Greatest share of held-out prompts that the editor was given."""
    export_loss: Bound = _at(0.02, "what is served must know what was edited")
    """Greatest share of facts known in memory and lost in the export."""
    adapter_loss: Bound = _at(0.02, "an adapter that is served must know it too")
    """The same of the exported adapter, where there is one."""
    capability_drop: Bound = _at(0.02, "users notice", unproven="warn")
    """Greatest fall of the mean accuracy on capability tasks."""
    quarantined: Bound = _at(0.05, "a batch that loses many edits is unsound")
    """Greatest share of planned edits that were refused or set aside."""

    bisect: bool = True
    """Whether a batch that fails is searched for the edits that make it fail."""

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A number or a table changes what it names, and leaves the rest of the default."""
        merged = dict(raw)
        for name, given in raw.items():
            field = cls.model_fields.get(name)
            if field is None or not isinstance(field.default, Bound):
                continue
            if isinstance(given, (int, float)) and not isinstance(given, bool):
                given = {"bound": given}
            if isinstance(given, Mapping):
                merged[name] = {**field.default.model_dump(), **given}
        return merged
