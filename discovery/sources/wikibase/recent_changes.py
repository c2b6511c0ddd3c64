"""Find the entities that changed, slice by slice, from Wikimedia's stream of recent changes.

EventStreams sends `recentchange` events (schema mediawiki/recentchange/1.0.0) as server-sent
events. The id of an event is a JSON array of topics and offsets; sent back unchanged, it continues
the stream from there. For a position older than the stream retains, the stream continues from now
without notice. Canary events come every hour, so a longer time between two events is a gap, and
changes in a gap must be found in another way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from discovery.sources.observation import MAX_SAMPLE, Signal, Skip
from discovery.sources.wikibase.mediawiki import MAIN, Namespace
from infra.http.client import PoliteClient

HEARTBEAT = timedelta(hours=3)
"""Longest time between two events that is no gap. Canary events come at least once an hour
(analytics-announce, December 2023)."""
SKEW = timedelta(minutes=10)
"""An event may be dated so far after our clock; a later date is an error of the event's clock."""
SLICE_EVENTS = 20_000
"""Events of one slice, at most: about an hour of all Wikimedia's changes."""
LATE = timedelta(minutes=1)
"""How far events may be out of order: for so long after the end of a day its events may come."""
MAX_EMPTY = 2
"""Consecutive connections without a new event after which the stream has no more events."""
TYPES = frozenset({"edit", "new", "log"})
"""Types of events that may change an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedEntity:
    """The content of one event."""

    at: datetime
    """Time of the event."""
    canary: bool
    """Whether it is a canary event, which only shows that the stream works."""
    item: str | None
    """The item whose statements or names may have changed, or None."""
    revision: int | None


@dataclass(slots=True)
class Slice:
    """The events read so far."""

    source: str
    event_id: str | None
    """Id of the last event, unchanged."""
    at: datetime
    """Time of the last event; before the first one, the time from which changes are wanted."""
    items: set[str] = field(default_factory=set)
    revisions: set[int] = field(default_factory=set)
    skips: list[Skip] = field(default_factory=list)
    gap: str | None = None
    num_events: int = 0
    passed: bool = False
    """Whether an event after the end was read; then the position stays before it."""

    def take(self, change: ChangedEntity, event_id: str | None) -> None:
        """Add an event, and move the position to it."""
        self.num_events += 1
        self._note_gap(change.at, "goes on")
        if change.at >= self.at and not self.passed:  # an event sent again does not move back
            self.event_id, self.at = event_id or self.event_id, change.at
        if change.canary or change.item is None:
            return
        if change.revision is not None and change.revision in self.revisions:
            self.skips.append(Skip(self.source, "event was delivered twice", change.item))
        self.revisions.add(change.revision or 0)
        self.items.add(change.item)

    def end(self, until: datetime) -> None:
        """Say that all events before `until` were read.

        After a gap the stream is followed from `until`: all entities are checked anyway, and the
        stream no longer knows the last id.
        """
        self._note_gap(until, "had to be followed")
        if until - self.at > HEARTBEAT:
            self.event_id, self.at = None, until

    def signal(self, state: Mapping[str, Any], *, done: bool) -> Signal:
        """The signal of this slice; its cursor is `state` with the new position."""
        cursor = {**state, "event_id": self.event_id, "at": _text(self.at)}
        return Signal(
            subjects=tuple(sorted(self.items)),
            cursor=cursor,
            done=done,
            gap=self.gap,
            skips=tuple(self.skips),
        )

    def _note_gap(self, at: datetime, what: str) -> None:
        """Note a gap, if the last event is too long before `at`."""
        if self.gap is None and at - self.at > HEARTBEAT:
            self.gap = (
                f"the stream is silent from {_text(self.at)} to {_text(at)}, where it {what}: "
                "what changed in between is found by looking at all entities"
            )


def follow(
    client: PoliteClient,
    url: str,
    wiki: str,
    state: Mapping[str, Any],
    as_of: date,
    source: str,
    namespace: Namespace = MAIN,
) -> Signal:
    """The next slice of the stream, to the end of a day or until now, whichever is earlier.

    url        address of the stream
    wiki       name of the wiki whose events count
    namespace  that of its items
    state      cursor of the slice before. Without a position the slice is empty: all entities are
               checked this time, and the stream is followed from the end of that

    Raises SourceError.
    """
    now = datetime.fromtimestamp(client.clock(), UTC)
    end = datetime.combine(as_of + timedelta(days=1), datetime.min.time(), UTC)
    until = min(end, now)
    if "at" not in state:
        return Signal(cursor={**state, "event_id": None, "at": _text(until)}, done=True)
    found = Slice(source, state["event_id"], datetime.fromisoformat(state["at"]))
    empty = 0
    while empty < MAX_EMPTY:
        before = found.event_id
        since = None if found.event_id else {"since": _text(found.at)}
        with closing(client.stream(url, since, last_event_id=found.event_id)) as events:
            for event in events:
                change = read_event(event.data, wiki, namespace)
                if change is None or change.at > now + SKEW:
                    reason = "event is malformed" if change is None else "event is of the future"
                    found.skips.append(Skip(source, reason, event.data[:MAX_SAMPLE]))
                    continue
                if change.at >= until + LATE:
                    found.end(until)
                    return found.signal(state, done=True)
                if change.at >= until:
                    found.passed = True
                    continue
                found.take(change, event.id)
                if found.num_events >= SLICE_EVENTS:
                    return found.signal(state, done=False)
        empty = empty + 1 if found.event_id == before else 0
    found.end(until)
    return found.signal(state, done=True)


def read_event(text: str, wiki: str, namespace: Namespace = MAIN) -> ChangedEntity | None:
    """The content of an event's JSON; None where it does not follow the schema.

    The item is None for events of other wikis and of pages that are no items. Edit summaries are
    not read: only the entity shows what an edit changed, and an entity that is left out would keep
    an old revision.
    """
    try:
        event = json.loads(text)
        meta = event["meta"]
        at = datetime.fromisoformat(meta["dt"])
        if at.tzinfo is None:
            return None
        if meta["domain"] == "canary":
            return ChangedEntity(at=at, canary=True, item=None, revision=None)
        item = None
        concerns_item = (
            event["wiki"] == wiki
            and event["namespace"] == namespace.number
            and event["type"] in TYPES
            and (item := namespace.item(event["title"])) is not None
        )
        revision = (event.get("revision") or {}).get("new")
        number = revision if isinstance(revision, int) else None
        return ChangedEntity(
            at=at, canary=False, item=item if concerns_item else None, revision=number
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _text(at: datetime) -> str:
    """A time in ISO 8601, UTC."""
    return at.astimezone(UTC).isoformat("T").replace("+00:00", "Z")
