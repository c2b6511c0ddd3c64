"""The policy of trust, and how far each source is trusted by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from discovery.sources.settings import PUBLIC_TRUST, SourceSettings

APPROVAL = re.compile(r"[0-9a-f]{16}|(user|domain|relation):\S.*")
"""What a person may approve: one change by its id, or a whole set that the breaker holds."""


class SourceTrust(BaseModel):
    """What holds for one source instead of what its kind brings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_trust: float | None = Field(default=None, ge=0, le=1)
    """Factor of the priority, 0 to 1. At 1 the source is the team's own: neither cool-down, quorum
    nor revert risk apply. At 0 everything waits for a person. Unset: 1 for tables and SQL, 0.5
    for what the public can write."""
    cool_down_h: float | None = Field(default=None, ge=0)
    """Hours; unset is the general setting."""
    quorum: int | None = Field(default=None, ge=0)
    """Independent voices; unset is the general setting."""


class RelationTrust(BaseModel):
    """What holds for one relation of public sources; goes before the source's setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cool_down_h: float | None = Field(default=None, ge=0)
    """Hours; unset is the source's."""
    quorum: int | None = Field(default=None, ge=0)
    """Independent voices; unset is the source's. Of living persons `quorum_living` holds where it
    is more."""


class RevertRiskConfig(BaseModel):
    """A service that rates how likely a revision is to be reverted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(
        default="https://api.wikimedia.org/service/lw/inference", pattern=r"^https?://\S+$"
    )
    """Below it lies `v1/models/revertrisk-wikidata:predict` (Wikimedia's Lift Wing)."""
    contact: str
    """URL or e-mail of the operator, sent with every request."""
    limit: float = Field(default=0.5, gt=0, le=1)
    """Probability above which a change is held: likelier to be reverted than to stay."""
    max_revisions: int = Field(default=500, ge=1)
    """Revisions asked about in one edition, most popular subjects first; at one request a second
    the default is under ten minutes. The others count as not rated."""
    min_interval_s: float = Field(default=1.0, ge=0)
    """Seconds between two requests."""


class TrustConfig(BaseModel):
    """When a change may be acted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cool_down_h: float = Field(default=72.0, ge=0)
    """Hours that the latest revision of a statement must have stood. Most vandalism is undone
    within hours; three days also pass a weekend."""
    quorum: int = Field(default=2, ge=0)
    """Independent voices that a fact of a public source needs: registrable domains of its
    references, works it is stated in, other sources that say the same. Two, so that no one page
    writes into the model."""
    quorum_living: int = Field(default=3, ge=0)
    """The same for facts about living persons, where a mistake harms somebody."""
    living_years: int = Field(default=120, ge=1)
    """Years after a birth within which a person without a date of death is taken to live; nobody
    but one is known to have lived longer."""
    revert_risk: RevertRiskConfig | None = None
    """Unset: nobody is asked, and no change is held for its risk."""
    bulk_factor: float = Field(default=5.0, ge=1)
    """How many times its trailing median of subjects a user, domain or relation may change in one
    edition before the whole set waits for a person."""
    bulk_floor: int = Field(default=50, ge=1)
    """Subjects; fewer are never a bulk anomaly, whatever the median."""
    bulk_first: int = Field(default=1000, ge=1)
    """Subjects; the limit while no earlier edition has been counted."""
    approve: tuple[str, ...] = ()
    """What a person has looked at and lets pass: change ids (16 hex digits, as `corrigenda why`
    prints them), or `user:NAME`, `domain:NAME`, `relation:P6` for a set held as a bulk anomaly."""
    sources: Mapping[str, SourceTrust] = Field(default_factory=dict)
    """By name of the source."""
    relations: Mapping[str, RelationTrust] = Field(default_factory=dict)
    """By id of the relation."""

    @field_validator("approve")
    @classmethod
    def _approvals(cls, approve: tuple[str, ...]) -> tuple[str, ...]:
        return check_approvals(approve)


def check_approvals(approve: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError for what cannot be approved."""
    for given in approve:
        if not APPROVAL.fullmatch(given):
            raise ValueError(
                f"approve: {given!r} is no change id (16 hex digits), user:NAME, domain:NAME or "
                "relation:ID"
            )
    return approve


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a source is trusted by itself."""

    base_trust: float = PUBLIC_TRUST
    quarantined: bool = False
    """Whether everything it says waits for a person (pages and feeds, read by an extractor)."""

    @property
    def own(self) -> bool:
        """Whether the team answers for it."""
        return self.base_trust >= 1 and not self.quarantined


def standings(sources: Sequence[SourceSettings], config: TrustConfig) -> dict[str, Standing]:
    """By name: what the source's kind brings, less what the policy says of the source."""
    found = {}
    for source in sources:
        trust = source.base_trust
        given = config.sources.get(source.name)
        if given is not None and given.base_trust is not None:
            trust = given.base_trust
        found[source.name] = Standing(trust, source.quarantined or trust == 0)
    return found


@dataclass(frozen=True, slots=True)
class Sensitive:
    """What the policy does about one property of a living person."""

    action: Literal["deny", "review"]
    label: str
    group: str
    """Why: in which of Wikidata's classes of sensitive properties it belongs."""


@cache
def sensitive() -> Mapping[str, Sensitive]:
    """By property id, the list that is shipped (`discovery/relations/sensitive.json`)."""
    text = (files("discovery") / "relations" / "sensitive.json").read_text(encoding="utf-8")
    rows = json.loads(text)["properties"]
    return MappingProxyType(
        {key: Sensitive(r["action"], r["label"], r["class"]) for key, r in rows.items()}
    )
