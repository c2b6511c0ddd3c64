"""The settings of trust: when a change may be acted on, and how far each source is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from discovery.sources.settings import PUBLIC_TRUST, SourceSettings
from infra.secrets.masks import SettingKind
from infra.secrets.settings import SecretSettings

APPROVAL = re.compile(r"[0-9a-f]{16}|(user|domain|relation|vanished):\S.*")
"""What a person may approve: one change by its id; all changes of a user, a domain or a relation
that are held as a bulk anomaly; that most of a source is gone."""


MAX_COOL_DOWN_H = 1e6
"""Hours of the longest cool-down, more than a century. Python can represent days that far ahead."""


class SourceTrust(BaseModel):
    """Settings of trust for one source, in place of those of its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_trust: float | None = Field(default=None, ge=0, le=1)
    """How far the source is trusted, 0 to 1; a factor of a change's priority. At 1 the source is
    the team's own: cool-down, quorum and revert risk do not apply. At 0 each change waits for a
    person. Unset: 1 for tables and SQL, 0.5 for sources that the public can write."""
    cool_down_h: float | None = Field(default=None, ge=0, le=MAX_COOL_DOWN_H)
    """Cool-down in hours, as in `TrustConfig`; unset: the general setting."""
    quorum: int | None = Field(default=None, ge=0)
    """Number of independent voices, as in `TrustConfig`; unset: the general setting."""


class RelationTrust(BaseModel):
    """Settings of trust for one relation in public sources. They take precedence over the source's
    settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cool_down_h: float | None = Field(default=None, ge=0, le=MAX_COOL_DOWN_H)
    """Cool-down in hours; unset: the source's."""
    quorum: int | None = Field(default=None, ge=0)
    """Number of independent voices; unset: the source's. For living persons, `quorum_living`
    applies where it is greater."""


class RevertRiskConfig(SecretSettings):
    """A service that rates how likely a revision is to be reverted."""

    may_hold_secrets: ClassVar[Mapping[str, SettingKind]] = {"endpoint": "address"}

    endpoint: str = Field(
        default="https://api.wikimedia.org/service/lw/inference", pattern=r"^https?://\S+$"
    )
    """Base URL of the service; `v1/models/revertrisk-wikidata:predict` is appended. Default:
    Wikimedia's Lift Wing."""
    contact: str
    """URL or e-mail of the operator, sent with every request."""
    limit: float = Field(default=0.5, gt=0, le=1)
    """Probability above which a change is held. At the default it is more likely to be reverted
    than to stay."""
    max_revisions: int = Field(default=500, ge=1)
    """The service is asked about at most so many revisions in one edition, those of the most
    popular subjects first. The others count as not rated. At one request a second the default takes
    less than ten minutes."""
    min_interval_s: float = Field(default=1.0, ge=0)
    """Seconds between two requests."""


class TrustConfig(BaseModel):
    """When a change may be acted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cool_down_h: float = Field(default=72.0, ge=0, le=MAX_COOL_DOWN_H)
    """Cool-down: hours for which the latest revision of a statement must have been unchanged. Most
    vandalism is reverted within hours; three days also cover a weekend."""
    quorum: int = Field(default=2, ge=0)
    """Number of independent voices that a fact of a public source needs. Voices are the registrable
    domains of its references, the works it is stated in, and other sources that state the same. The
    default is two, so that no single page decides what is written into the model."""
    quorum_living: int = Field(default=3, ge=0)
    """The quorum for facts about living persons, whom a mistake could harm."""
    living_years: int = Field(default=120, ge=1)
    """A person without a date of death counts as living for so many years after birth. Only one
    person is known to have lived longer than the default."""
    revert_risk: RevertRiskConfig | None = None
    """The service for revert risk. Unset: no service is asked, and no change is held for its
    risk."""
    bulk_factor: float = Field(default=5.0, ge=1)
    """A bulk anomaly is a user, domain or relation that changes more subjects in one edition than
    this factor times its median of earlier editions. All its changes wait for a person."""
    bulk_floor: int = Field(default=50, ge=1)
    """Number of subjects below which there is no bulk anomaly, whatever the median."""
    bulk_first: int = Field(default=1000, ge=1)
    """Number of subjects that is the limit while no earlier edition has been counted."""
    max_vanished: float = Field(default=0.5, ge=0, le=1)
    """Where more than this share of a source's facts is gone at once, the edition stops: most
    likely the source's copy is broken, or its ids are others than before."""
    approve: tuple[str, ...] = ()
    """What a person has checked and approved: change ids (16 hex digits, as `corrigenda why` prints
    them); `user:NAME`, `domain:NAME`, `relation:P6` for the changes of a bulk anomaly;
    `vanished:SOURCE` for a source most of whose facts are gone."""
    sources: Mapping[str, SourceTrust] = Field(default_factory=dict)
    """Source name -> its own settings."""
    relations: Mapping[str, RelationTrust] = Field(default_factory=dict)
    """Relation id -> its own settings."""

    @field_validator("approve")
    @classmethod
    def _approvals(cls, approve: tuple[str, ...]) -> tuple[str, ...]:
        return check_approvals(approve)

    @property
    def may_vanish(self) -> frozenset[str]:
        """Sources of which a person has approved that most of their facts are gone."""
        named = (given.partition(":") for given in self.approve)
        return frozenset(name for kind, _, name in named if kind == "vanished")


def check_approvals(approve: tuple[str, ...]) -> tuple[str, ...]:
    """The approvals unchanged. Raises ValueError for one that is not of the form `APPROVAL`."""
    for given in approve:
        if not APPROVAL.fullmatch(given):
            raise ValueError(
                f"approve: {given!r} is no change id (16 hex digits), user:NAME, domain:NAME, "
                "relation:ID or vanished:SOURCE"
            )
    return approve


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a source itself is trusted, whatever the change."""

    base_trust: float = PUBLIC_TRUST
    """0 to 1, as in `SourceTrust`."""
    quarantined: bool = False
    """Whether each of its changes waits for a person, as for facts that an extractor read in
    text."""

    @property
    def own(self) -> bool:
        """Whether the source is the team's own, so that the team answers for what it states."""
        return self.base_trust >= 1 and not self.quarantined


def standings(sources: Sequence[SourceSettings], config: TrustConfig) -> dict[str, Standing]:
    """Source name -> its standing: the settings of its kind, unless `config` has others for it."""
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
    """A sensitive property, and what happens to changes of it that are about living persons."""

    action: Literal["deny", "review"]
    """`deny`: the change is never acted on; `review`: it waits for a person, unless
    the source is the team's own."""
    label: str
    """Name of the property."""
    group: str
    """Wikidata's class of sensitive properties that it belongs to, as the reason for the action."""


@cache
def sensitive() -> Mapping[str, Sensitive]:
    """Property id -> its entry in the list that comes with the package
    (`discovery/relations/sensitive.json`)."""
    text = (files("discovery") / "relations" / "sensitive.json").read_text(encoding="utf-8")
    rows = json.loads(text)["properties"]
    return MappingProxyType(
        {key: Sensitive(r["action"], r["label"], r["class"]) for key, r in rows.items()}
    )
