"""A lease: the right to make a line's editions in a workspace in object storage, for a while.

`leases/<line>.json` says who holds it and until when. It is taken, renewed and given back by
compare and swap, so one process has it. A holder that dies does not give it back: the lease then
ends by itself, after `LEASE_S`. Every new holder counts the *epoch* up; one whose epoch is not the
present one any more finds that out before it commits anything (`Lease.confirm`).
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from infra.errors import StageError
from infra.storage.object_store import ObjectStore, Stored

log = logging.getLogger(__name__)

LEASE_S = 60.0
"""Seconds after which a lease that is not renewed has ended. Clocks of machines that share a
workspace may differ by much less than that."""
LEASES = "leases"
"""Folder of the leases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What the object of a lease says."""

    epoch: int
    """Number of the holder, from 1; it only grows."""
    holder: str
    """Machine and process, for people; empty where the lease was given back."""
    copy: str
    """Id of the local copy of the workspace that the holder works on."""
    expires: str
    """When it ends unless it is renewed, as an ISO time."""
    nonce: str
    """Makes every writing of the object another one."""

    def as_bytes(self) -> bytes:
        """The term as the object has it."""
        return json.dumps(asdict(self), sort_keys=True).encode()


class Lease:
    """The lease of one line, as one process sees it."""

    def __init__(
        self, store: ObjectStore, line: str, *, copy: str, seconds: float = LEASE_S
    ) -> None:
        """
        copy     id of the local copy that this process works on. It holds the lock of that copy,
                 so that a lease of the same copy is that of a process that has died
        seconds  after which the lease ends unless it is renewed
        """
        self.store, self.line, self.copy, self.seconds = store, line, copy, seconds
        self.key = f"{LEASES}/{line}.json"
        self.epoch = 0
        """Epoch of this process while it holds the lease."""
        self._tag = ""
        self._lost: Term | None = None
        self._one = threading.Lock()

    @property
    def lost(self) -> bool:
        """Whether it is known that another process has the lease."""
        return self._lost is not None

    @contextmanager
    def held(self) -> Iterator[Lease]:
        """Hold the lease while the block runs; a thread renews it at a third of its time.

        Raises StageError, which says who holds it and until when, where another process does.
        """
        self._take()
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(ended,), daemon=True)
        renewing.start()
        try:
            yield self
        finally:
            ended.set()
            renewing.join()
            self._give_back()

    def confirm(self) -> None:
        """Renew the lease; called before anything is committed.

        Raises StageError where another process has taken the line over meanwhile.
        """
        with self._one:
            if self._lost is None:
                if tag := self.store.put_if_match(self.key, self._term().as_bytes(), self._tag):
                    self._tag = tag
                    return
                self._lost = _term_of(self.store.read(self.key))
            self._refuse(self._lost)

    def _take(self) -> None:
        """Become the holder. Raises StageError where another process is."""
        while True:
            there = self.store.read(self.key)
            before = _term_of(there)
            if before.copy != self.copy and _now() < datetime.fromisoformat(before.expires):
                raise StageError(
                    f"line {self.line}: {before.holder} makes an edition of it in "
                    f"{self.store.uri} and holds its lease until {before.expires}. Wait until "
                    "that run has ended; where it was killed, the lease ends then by itself."
                )
            self.epoch = before.epoch + 1
            term = self._term().as_bytes()
            if there is None:
                tag = self.store.put_if_absent(self.key, term)
            else:
                tag = self.store.put_if_match(self.key, term, there.tag)
            if tag is not None:
                self._tag = tag
                return

    def _renew(self, ended: threading.Event) -> None:
        """Renew the lease until `ended`. A store that cannot be reached is asked again; whether the
        lease is lost is said where something is committed."""
        while not ended.wait(self.seconds / 3):
            try:
                self.confirm()
            except StageError as error:
                if self._lost is not None:
                    return
                log.warning("the lease of line %s is not renewed yet: %s", self.line, error)

    def _give_back(self) -> None:
        """End the lease now, unless it is lost."""
        with self._one:
            if self._lost is None:
                try:
                    self.store.put_if_match(self.key, self._term(over=True).as_bytes(), self._tag)
                except StageError as error:
                    log.warning("the lease of line %s ends by itself: %s", self.line, error)

    def _term(self, *, over: bool = False) -> Term:
        """What this process writes as the holder, or, `over`, as the one that was it."""
        ends = _now() + timedelta(seconds=0 if over else self.seconds)
        return Term(
            epoch=self.epoch,
            holder="" if over else f"process {os.getpid()} on {platform.node()}",
            copy="" if over else self.copy,
            expires=ends.isoformat(" ", "milliseconds"),
            nonce=uuid.uuid4().hex,
        )

    def _refuse(self, by: Term) -> NoReturn:
        """Raise that another process has taken the line over."""
        raise StageError(
            f"line {self.line}: the lease of this run (epoch {self.epoch}) had ended, and "
            f"{by.holder or 'another process'} has taken the line over (epoch {by.epoch}). "
            "Nothing more is written here. When that run has ended, run the same command again."
        )


def _term_of(there: Stored | None) -> Term:
    """What a lease's object says; one that has ended where there is none. Raises StageError where
    it cannot be read."""
    if there is None:
        return Term(epoch=0, holder="", copy="", expires=_now().isoformat(), nonce="")
    try:
        term = Term(**json.loads(there.data))
        datetime.fromisoformat(term.expires)
    except (ValueError, TypeError):
        raise StageError(
            "the object of a lease is damaged: it is no JSON of a lease. Delete it when no run "
            "is at work, and run again."
        ) from None
    return term


def _now() -> datetime:
    return datetime.now(UTC)
