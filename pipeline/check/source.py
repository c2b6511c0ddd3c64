"""Whether a source can be read, what its beginning holds, and how far it is trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from discovery.crawl.access import Access
from discovery.crawl.sample import sample_source
from discovery.facts.dates import to_iso
from discovery.facts.fact import Entity, Fact
from discovery.relations.labels import clean_label
from discovery.relations.relation import Relation
from discovery.sources import SourceConfig
from discovery.sources.observation import Skip
from discovery.sources.settings import NetworkSettings
from discovery.trust.policy import Standing, TrustConfig, standings
from infra.errors import CorrigendaError

NUM_EXAMPLES = 3
"""Facts that are shown as sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a source is asked over the network."""

    host: str
    """Origin of the site, or the recording."""
    contact: str | None
    """Who is named as the operator in each request."""
    min_interval_s: float
    """Seconds between two requests."""
    obeys_robots: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the beginning of a source holds."""

    number: int
    """Pieces that were read."""
    unit: str
    """What a piece is: `row`, `item`, `entry` or `line`."""
    whole: bool
    """Whether that is the whole source."""
    num_requests: int | None
    """Requests of a first crawl, at least; None for a source that is not asked over the network."""
    num_facts: int
    num_unreadable: int
    """Facts whose value or dates cannot be read; their groups are left as they are."""
    skips: tuple[Skip, ...]
    """What could not be used, counted by reason."""
    examples: tuple[str, ...]
    """Some facts as sentences."""
    untaught: Mapping[str, int]
    """Relations that no question can be made of, with their facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCheck:
    """What is known of one source."""

    name: str
    kind: str
    standing: Standing
    """How far it is trusted."""
    quorum: int
    """Voices that its facts need, where it is not the team's own."""
    cool_down_h: float
    """Hours that they must have stood, likewise."""
    manners: Manners | None
    """None for a source that is not asked over the network."""
    content: Content | None
    """None where it cannot be read."""
    stops: tuple[str, ...] = ()
    """What would stop a run, one line each."""


def check_source(
    config: SourceConfig,
    as_of: date,
    *,
    trust: TrustConfig,
    relations: Mapping[str, Relation],
    access: Access,
) -> SourceCheck:
    """Read the beginning of a source as a crawl of a day would. What stops it is in the result."""
    content, stops = None, ()
    try:
        content = _content(config, as_of, relations, access)
    except CorrigendaError as error:
        stops = (str(error),)
    own = trust.sources.get(config.name)
    quorum = trust.quorum if own is None or own.quorum is None else own.quorum
    wait_h = trust.cool_down_h if own is None or own.cool_down_h is None else own.cool_down_h
    return SourceCheck(
        name=config.name,
        kind=config.kind,
        standing=standings([config], trust)[config.name],
        quorum=quorum,
        cool_down_h=wait_h,
        manners=_manners(config),
        content=content,
        stops=stops,
    )


def _content(
    config: SourceConfig, as_of: date, relations: Mapping[str, Relation], access: Access
) -> Content:
    """What the beginning of a source holds. Raises SourceError and ConfigError."""
    found = sample_source(config, as_of, access)
    parsed = found.sample.parsed
    entities = {entity.id: entity for entity in parsed.entities}
    readable = [fact for fact in parsed.facts if fact.snaktype == "value"]
    untaught = Counter(
        fact.relation
        for fact in readable
        if fact.relation not in relations and not _named(fact.relation, entities)
    )
    return Content(
        number=found.sample.number,
        unit=found.sample.unit,
        whole=found.sample.whole,
        num_requests=found.num_requests,
        num_facts=len(parsed.facts),
        num_unreadable=sum(fact.snaktype == "unreadable" for fact in parsed.facts),
        skips=parsed.skips,
        examples=_examples(readable, relations, entities),
        untaught=dict(untaught.most_common()),
    )


def _named(relation: str, entities: Mapping[str, Entity]) -> bool:
    """Whether the source itself names a relation, so that questions are made of the name."""
    entity = entities.get(relation)
    return entity is not None and any(c.isalpha() for c in entity.label or "")


def _examples(
    facts: Sequence[Fact], relations: Mapping[str, Relation], entities: Mapping[str, Entity]
) -> tuple[str, ...]:
    """Some facts as sentences: of different relations first; those that can be taught, and that
    have not ended, before others."""
    order = sorted(facts, key=lambda fact: (fact.relation not in relations, fact.end is not None))
    first = {fact.relation: fact for fact in reversed(order)}
    chosen = [fact for fact in order if first.get(fact.relation) is fact]
    chosen += [fact for fact in order if first.get(fact.relation) is not fact]
    told = (_sentence(fact, relations, entities) for fact in chosen)
    return tuple(dict.fromkeys(told))[:NUM_EXAMPLES]


def _sentence(fact: Fact, relations: Mapping[str, Relation], entities: Mapping[str, Entity]) -> str:
    """A fact by the first template of its relation, or by its three parts where that has none."""

    def name(key: str) -> str:
        entity = entities.get(key)
        return clean_label((entity and entity.label) or key) or key

    subject = name(fact.subject)
    value = name(fact.value) if fact.value_type == "entity" else clean_label(fact.value)
    relation = relations.get(fact.relation)
    if relation is None or not clean_label(subject):
        return f"{subject} - {name(fact.relation)} - {value}{_dates(fact)}"
    told = f"{relation.prompt(relation.statements[0], subject).text} {value}"
    return f"{told.removesuffix('.')}.{_dates(fact)}"


def _dates(fact: Fact) -> str:
    """When a fact held, in brackets; empty where it has no date."""
    dated = (("on", fact.point), ("since", fact.start), ("until", fact.end))
    told = [f"{word} {to_iso(when)}" for word, when in dated if when is not None]
    return f" ({', '.join(told)})" if told else ""


def _manners(config: SourceConfig) -> Manners | None:
    """How a source is asked; None for one that is not asked over the network."""
    if not isinstance(config, NetworkSettings):
        return None
    return Manners(
        host=config.origin,
        contact=config.contact,
        min_interval_s=config.min_interval_s,
        obeys_robots=config.obeys_robots,
    )
