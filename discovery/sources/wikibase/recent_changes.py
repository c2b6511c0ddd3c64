"""Find the entities that changed, slice by slice, from Wikimedia's stream of recent changes.

EventStreams sends `recentchange` events (schema mediawiki/recentchange/1.0.0) as server-sent
events. The id of an event is a JSON array of topics and offsets; sent back unchanged, it continues
the stream from there. For a position older than the stream retains, the stream continues from now
without notice. Canary events come every hour, so a longer time between two events is a gap, and
changes in a gap must be found in another way.

A position may also be refused, since topics are renamed and partitions rebuilt: with HTTP 400 or
404, or by an event of the type `error` (KafkaSSE). Then the stream is followed from the time of the
position, and where it refuses that as well, not at all this time: both are gaps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from discovery.sources.observation import MAX_SAMPLE, Signal, Skip
from discovery.sources.wikibase.mediawiki import MAIN, Namespace
from infra.errors import HostError, RefusedError
from infra.http.client import PoliteClient
from infra.http.faults import ReadTimeout
from infra.http.sse import Event

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
SILENCE_S = 5.0
"""Seconds to wait for an event, where it only matters that the stream answers."""
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

    def forget_position(self, reason: str) -> None:
        """Go on from the time of the last event: the stream refuses its id."""
        self.event_id = None
        self._note_refusal("its position", reason)

    def skip_to(self, until: datetime, reason: str) -> None:
        """Follow the stream from `until` in the next slice: it refuses the time of the last event
        as well."""
        self.event_id, self.at = None, until
        self._note_refusal("the time of its last event", reason)

    def _note_refusal(self, what: str, reason: str) -> None:
        """Note a gap at the last event."""
        self.gap = self.gap or (
            f"the stream refuses {what} ({reason}): what changed since {_text(self.at)} is found "
            "by looking at all entities"
        )

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
    read = partial(read_event, wiki=wiki, namespace=namespace)
    empty, refused, done = 0, False, None
    while empty < MAX_EMPTY:
        before = found.event_id
        try:
            done = _listen(client, url, read, found, until, now)
        except RefusedError as error:
            if found.event_id is not None and not refused:
                refused = True
                found.forget_position(_status(error))
                continue
            if not refused:
                _check_address(client, url)
            found.skip_to(until, _status(error))
            return found.signal(state, done=True)
        except HostError as error:
            silent = isinstance(error.__cause__, ReadTimeout)  # else it was asked often enough
            if not silent or (found.event_id == before and empty + 1 == MAX_EMPTY):
                raise
        if done is not None:
            return found.signal(state, done=done)
        empty = empty + 1 if found.event_id == before else 0
    found.end(until)
    return found.signal(state, done=True)


def _listen(
    client: PoliteClient,
    url: str,
    read: Callable[[str], ChangedEntity | None],
    found: Slice,
    until: datetime,
    now: datetime,
) -> bool | None:
    """Take the events of one connection into `found`, from its position, or else its time.

    read  gives the content of an event

    Returns whether the day is done if the slice ends in this connection, else None. Raises
    RefusedError for a position or time that the stream refuses; SourceError.
    """
    since = None if found.event_id else {"since": _text(found.at)}
    position = found.event_id
    with closing(client.stream(url, since, last_event_id=position)) as events:
        for event in events:
            if event.event == "error":
                if found.event_id == position:  # nothing came before it
                    raise RefusedError(_reported(event))
                return None
            change = read(event.data)
            if change is None or change.at > now + SKEW:
                reason = "event is malformed" if change is None else "event is of the future"
                found.skips.append(Skip(found.source, reason, event.data[:MAX_SAMPLE]))
                continue
            if change.at >= until + LATE:
                found.end(until)
                return True
            if change.at >= until:
                found.passed = True
                continue
            found.take(change, event.id)
            if found.num_events >= SLICE_EVENTS:
                return False
    return None


def _check_address(client: PoliteClient, url: str) -> None:
    """Connect to a stream without position and time. Raises SourceError where it refuses that too:
    then the address is wrong."""
    events = client.stream(url, read_timeout_s=SILENCE_S)
    with suppress(HostError), closing(events):
        next(events, None)


def _status(error: RefusedError) -> str:
    """How a stream refuses, without address and time, which must not stand in a snapshot."""
    status = re.search(r"HTTP \d{3}", str(error))
    return status[0] if status else str(error)


def _reported(event: Event) -> str:
    """What an event of the type `error` says, in one line."""
    try:
        said = json.loads(event.data)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        said = event.data
    return " ".join(str(said).split())[:120] or "an error without a message"


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
