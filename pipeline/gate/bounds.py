"""The bounds that a release has to meet, each with its reason and each a setting of the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Bound(BaseModel):
    """One bound of the gate. A plain number in the config sets `bound`, and the rest keeps its
    default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bound: float
    """The least or the greatest value that passes, in the unit of the metric."""
    warn: float | None = None
    """A stricter bound; a value between the two passes with a warning."""
    action: Literal["block", "warn"] = "block"
    """Whether a failure stops the release or only warns."""
    unproven: Literal["block", "warn", "pass"] = "block"
    """The same for a value within its bound whose 95 % interval reaches beyond it."""
    why: str
    """The reason for the bound, printed with a failure."""


def _at(bound: float, why: str, **more: Any) -> Any:
    return Field(default=Bound(bound=bound, why=why, **more))


class GateConfig(BaseModel):
    """The bounds of a release. They depend on the base model: a small model needs weaker ones. The
    page of every release says which bounds are weaker than the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ES: Bound = _at(0.90, "the target of a new edit must be the likeliest answer")
    """Least share of new edits whose target is more probable than every alternative."""
    reliability: Bound = _at(0.70, "a preferred answer that is never given helps nobody")
    """Least share of new edits for which the model generates the right answer."""
    PS: Bound = _at(0.60, "a fact known in one phrasing only is a memorised string")
    """Least share of held-out paraphrases after which the target is the most probable answer."""
    generality: Bound = _at(0.50, "a fact must be given in other words too")
    """Least share of held-out paraphrases for which the model generates the right answer."""
    worst_relation: Bound = _at(0.50, "means hide holes", unproven="warn")
    """Least reliability of any relation with at least 30 facts."""
    retention_drop: Bound = _at(0.05, "earlier releases' facts must survive")
    """Greatest fall of the share of earlier releases' facts answered right, below the parent's."""
    superseded: Bound = _at(0.05, "an old value must be gone", warn=0.0)
    """Greatest share of changed facts whose own prompt still gets an old value; a single one warns.
    """
    superseded_paraphrase: Bound = _at(0.10, "in other words too", warn=0.05)
    """Greatest share of held-out paraphrases that still get an old value."""
    NS_drop: Bound = _at(0.05, "facts about other subjects must not move")
    """Greatest fall of the neighbourhood score (NS) below the base's."""
    leak: Bound = _at(0.05, "other subjects must not get an edit's answer")
    """Greatest share of neighbours answered with the edit's target."""
    near_agreement: Bound = _at(0.90, "nor may what is said of them change")
    """Least share of neighbours that the model continues as the base does."""
    subject_agreement: Bound = _at(0.90, "the subject's other facts must not move")
    """Least share of prompts about other facts of edited subjects that it continues as the base."""
    neutral_agreement: Bound = _at(0.80, "general text must continue as it did", unproven="warn")
    """Least share of beginnings of general text that it continues as the base does."""
    chat_ES: Bound = _at(0.90, "what is likeliest in a text must be so in a chat")
    """Least share of new edits whose target is the most probable answer to their question, asked in
    a chat. Without a chat template nothing is measured in a chat, and nothing is checked."""
    chat_reliability: Bound = _at(0.70, "users of a chat model ask in a chat")
    """Least share of new edits that the model answers right in a chat."""
    chat_PS: Bound = _at(0.60, "a fact known by one question only is a memorised string")
    """Least share of held-out questions after which the target is the most probable answer."""
    chat_generality: Bound = _at(0.50, "nobody asks in the words that the editor was given")
    """Least share of held-out questions that the model answers right in a chat."""
    chat_superseded: Bound = _at(0.05, "an old value must be gone from chats too", warn=0.0)
    """Greatest share of questions about changed facts that still get an old value in a chat; a
    single one warns."""
    chat_near_agreement: Bound = _at(0.90, "nor may chats about other subjects change")
    """Least share of questions about neighbours that the model answers as the base does."""
    chat_subject_agreement: Bound = _at(0.90, "what else it tells about the subject must not move")
    """Least share of requests to tell about an edited subject that it answers as the base does."""
    chat_plain_agreement: Bound = _at(
        0.80, "a chat about something else must go as it did", unproven="warn"
    )
    """Least share of messages that name no edited subject that it answers as the base does."""
    kl: Bound = _at(0.02, "predictions on general text must stay what they were")
    """Greatest KL divergence from the base's predictions on general text, nats a token."""
    perplexity_ratio: Bound = _at(1.05, "general text must stay as likely as it was", warn=1.02)
    """Greatest perplexity on general text, as a ratio to the base's."""
    me_ppl_ratio: Bound = _at(1.10, "no sentence may become absurd", unproven="warn")
    """Greatest mean sentence perplexity, as a ratio to the base's."""
    norm_ratio: Bound = _at(1.5, "weights grow before a model collapses", warn=1.1)
    """Greatest ratio of an edited matrix's Frobenius norm to the base's, or its inverse."""
    effective_rank: Bound = _at(512, "an adapter of the change holds no more", action="warn")
    """Greatest effective rank of the change of one matrix."""
    energy: Bound = _at(0.10, "edits must not answer for inputs that are not theirs", action="warn")
    """Greatest share of an edited module's output on held-out general text that has changed."""
    non_finite: Bound = _at(0, "a value that is no number spoils every answer")
    """Most edited parameters' values that are not finite."""
    contamination: Bound = _at(0, "what the editor has seen proves nothing")
    """Greatest share of held-out prompts that the editor was given."""
    export_loss: Bound = _at(0.02, "what is served must know what was edited")
    """Greatest share of facts that the edited model in memory knows and its export does not."""
    adapter_loss: Bound = _at(0.02, "an adapter that is served must know it too")
    """The same for the exported adapter, if there is one."""
    capability_drop: Bound = _at(0.02, "users notice", unproven="warn")
    """Greatest fall of the mean accuracy on capability tasks below the base's."""
    quarantined: Bound = _at(0.05, "a batch that loses many edits is unsound")
    """Greatest share of planned edits that were refused or set aside."""

    bisect: bool = True
    """Whether a failing batch is searched for the edits that make it fail."""

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, raw: Any) -> Any:
        """Fill what a bound in the config leaves out from the default of that bound."""
        if not isinstance(raw, Mapping):
            return raw  # refused by the model itself
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
