"""Wikimedia's stream of recent changes -> which entities changed, slice by slice.

EventStreams sends `recentchange` events (schema mediawiki/recentchange/1.0.0) as server-sent
events. The id of an event is a JSON array of topics and offsets, which is sent back verbatim to go
on from there. A position older than what the stream retains is passed over in silence, and the
stream goes on from now: so events that are further apart than the hourly canaries allow are a gap,
and what changed in it has to be found otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from discovery.sources.observation import MAX_SAMPLE, Signal, Skip
from infra.http.client import PoliteClient

HEARTBEAT = timedelta(hours=3)
"""Canaries come at least once an hour (analytics-announce, December 2023): a longer silence is a
gap."""
SKEW = timedelta(minutes=10)
"""An event may be dated so far behind our clock; one that is later has a broken clock itself."""
SLICE_EVENTS = 20_000
"""Events of one slice, at most: about an hour of all Wikimedia's changes."""
LATE = timedelta(minutes=1)
"""How far events may be out of order: so long after the end one of before it may still come."""
MAX_EMPTY = 2
"""Connections that close without a new event until there is taken to be nothing more."""
NAMESPACES = frozenset({0})
TYPES = frozenset({"edit", "new", "log"})

_ITEM = re.compile(r"Q[1-9]\d{0,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedEntity:
    """What one event says."""

    at: datetime
    canary: bool
    item: str | None
    """The entity, where the event may mean that its statements or names changed."""
    revision: int | None


@dataclass(slots=True)
class Slice:
    """What has been heard so far."""

    source: str
    event_id: str | None
    """The last event's id, verbatim."""
    at: datetime
    """Its time; before the first, the time from which changes are wanted."""
    items: set[str] = field(default_factory=set)
    revisions: set[int] = field(default_factory=set)
    skips: list[Skip] = field(default_factory=list)
    gap: str | None = None
    num_events: int = 0
    passed: bool = False
    """Whether an event of after the end was sent: the position then stays before it."""

    def take(self, change: ChangedEntity, event_id: str | None) -> None:
        """Go on to this event."""
        self.num_events += 1
        self._mind_gap(change.at, "goes on")
        if change.at >= self.at and not self.passed:  # what is sent again is no way back
            self.event_id, self.at = event_id or self.event_id, change.at
        if change.canary or change.item is None:
            return
        if change.revision is not None and change.revision in self.revisions:
            self.skips.append(Skip(self.source, "event was delivered twice", change.item))
        self.revisions.add(change.revision or 0)
        self.items.add(change.item)

    def end(self, until: datetime) -> None:
        """All of before `until` was heard. Behind a gap the stream is followed from there: all
        entities are looked at, and the last id would be passed over again."""
        self._mind_gap(until, "had to be followed")
        if until - self.at > HEARTBEAT:
            self.event_id, self.at = None, until

    def signal(self, state: Mapping[str, Any], *, done: bool) -> Signal:
        cursor = {**state, "event_id": self.event_id, "at": _text(self.at)}
        return Signal(
            subjects=tuple(sorted(self.items)),
            cursor=cursor,
            done=done,
            gap=self.gap,
            skips=tuple(self.skips),
        )

    def _mind_gap(self, at: datetime, what: str) -> None:
        if self.gap is None and at - self.at > HEARTBEAT:
            self.gap = (
                f"the stream is silent from {_text(self.at)} to {_text(at)}, where it {what}: "
                "what changed in between is found by looking at all entities"
            )


def follow(
    client: PoliteClient, url: str, wiki: str, state: Mapping[str, Any], as_of: date, source: str
) -> Signal:
    """The next slice of the stream, to the end of a day or until now, whichever is first.

    state  the last slice's cursor. Where it holds no position there is nothing to be heard: the
           position is the end of what is looked at in full.

    Raises SourceError.
    """
    now = datetime.fromtimestamp(client.clock(), UTC)
    end = datetime.combine(as_of + timedelta(days=1), datetime.min.time(), UTC)
    until = min(end, now)
    if "at" not in state:
        return Signal(cursor={**state, "event_id": None, "at": _text(until)}, done=True)
    heard = Slice(source, state["event_id"], datetime.fromisoformat(state["at"]))
    empty = 0
    while empty < MAX_EMPTY:
        before = heard.event_id
        since = None if heard.event_id else {"since": _text(heard.at)}
        with closing(client.stream(url, since, last_event_id=heard.event_id)) as events:
            for event in events:
                change = read_event(event.data, wiki)
                if change is None or change.at > now + SKEW:
                    reason = "event is malformed" if change is None else "event is of the future"
                    heard.skips.append(Skip(source, reason, event.data[:MAX_SAMPLE]))
                    continue
                if change.at >= until + LATE:
                    heard.end(until)
                    return heard.signal(state, done=True)
                if change.at >= until:
                    heard.passed = True
                    continue
                heard.take(change, event.id)
                if heard.num_events >= SLICE_EVENTS:
                    return heard.signal(state, done=False)
        empty = empty + 1 if heard.event_id == before else 0
    heard.end(until)
    return heard.signal(state, done=True)


def read_event(text: str, wiki: str) -> ChangedEntity | None:
    """One event; None where it is none of the schema.

    The item is None for other wikis and pages that are no items. Summaries are not looked at: what
    an edit changed is in the entity, and an entity that was passed over would keep an old revision.
    """
    try:
        event = json.loads(text)
        meta = event["meta"]
        at = datetime.fromisoformat(meta["dt"])
        if at.tzinfo is None:
            return None
        if meta["domain"] == "canary":
            return ChangedEntity(at=at, canary=True, item=None, revision=None)
        concerned = (
            event["wiki"] == wiki
            and event["namespace"] in NAMESPACES
            and event["type"] in TYPES
            and _ITEM.fullmatch(event["title"]) is not None
        )
        revision = (event.get("revision") or {}).get("new")
        number = revision if isinstance(revision, int) else None
        return ChangedEntity(
            at=at, canary=False, item=event["title"] if concerned else None, revision=number
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat("T").replace("+00:00", "Z")
