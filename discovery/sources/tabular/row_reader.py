"""Turn the rows of a table into facts: the role of each column, and which cells are refused.

A row counts on day T if the last day that its date can mean is not after T: "2015" counts from
2015-12-31 on, and is counted as a skip before. An end date after T is not known on T, so the row
then has none. Which of several dated rows is the current one, the diff decides.

A row whose subject and relation are known, but whose value or one of whose dates cannot be read, is
an unreadable fact and a skip. A row of unknown subject or relation is a skip that marks damage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import AfterValidator

from discovery.facts.dates import to_iso
from discovery.facts.fact import Entity, Fact, Interval
from discovery.sources.observation import MAX_SAMPLE, Parsed, Skip
from discovery.sources.tabular.cell_dates import read_date
from discovery.sources.tabular.cells import DATES, cell_text
from infra.errors import ConfigError
from infra.settings import nearest

ROLES = ("subject_id", "subject", "relation", "object_id", "object", "date", "start", "end")
REQUIRED = ("subject", "relation", "object")
SAMPLE_ROWS = 10_000
"""Rows that a sample has at most."""
LATER = "row is of a later day than the crawl"
REPEATED = "row says what another one says"
WITHOUT_ID = "row without subject_id, known by its name where others have one"
"""Reasons for skips of rows that could be read."""


def _roles(columns: Mapping[str, str]) -> Mapping[str, str]:
    """The columns themselves. Raises ValueError for an unknown role."""
    for role in columns:
        if role not in ROLES:
            raise ValueError(f"{role!r} is no role of a column{nearest(role, ROLES)}")
    return columns


Columns = Annotated[Mapping[str, str], AfterValidator(_roles)]
"""Role -> column, where they differ: subject_id, subject, relation, object_id, object, date, start,
end. Without the ids the names themselves are the ids and the object is plain text."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that could not be read."""

    reason: str
    """Why; the same words for the same kind of fault."""
    sample: str
    """The row, or where it is."""
    cells: Mapping[str, Any] | None = None
    """Its cells by column, where they could be read and the row is refused for another reason."""


class _Lost(ValueError):
    """A row whose subject, relation or key cannot be read: what it says is unknown."""


class _NotCounted(ValueError):
    """A row that says nothing on the day of the crawl."""


@dataclass(frozen=True, slots=True)
class _Statement:
    """What a row says."""

    fact: Fact
    entities: tuple[Entity, ...]
    """The entities that it names."""
    fault: str | None
    """Why the fact is an unreadable one; None of another."""
    has_id: bool
    """Whether the row has an id of its subject."""


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of a row that have a role."""

    text: Mapping[str, str]
    """By role; empty where the cell is missing or cannot be read."""
    dates: Mapping[str, Interval | None]
    """By `date`, `start` and `end`."""
    identity: Mapping[str, str]
    """By role, what the statement's id is made of: dates in one form, and a cell that cannot be
    read as it is written."""
    fault: str | None
    """Why a cell cannot be read, or is missing; None of a row without fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReader:
    """Turns the rows of one source into facts."""

    source: str
    columns: Mapping[str, str]
    """Role -> column, where they differ."""
    key: str | None = None
    """Column that identifies the row, so that a changed row keeps its statement id. Without it the
    id is made of the row's content."""

    @property
    def required(self) -> frozenset[str]:
        """Columns that a table must have."""
        needed = {self.columns.get(role, role) for role in REQUIRED} | set(self.columns.values())
        return frozenset(needed if self.key is None else needed | {self.key})

    @property
    def known(self) -> frozenset[str]:
        """Columns that play a part where a table has them."""
        return self.required | {self.columns.get(role, role) for role in ROLES}

    def check(self, known: Iterable[str], where: str) -> None:
        """Raises ConfigError where a required or configured column is missing or occurs twice.

        known  names of the table's columns
        where  the table, as the error names it
        """
        known = list(known)
        wanted = {role: role for role in REQUIRED} | dict(self.columns)
        if self.key is not None:
            wanted["key"] = self.key
        for role, column in wanted.items():
            if column not in known:
                names = ", ".join(sorted(map(printable, known)))
                raise ConfigError(
                    f"source {self.source}: {where} has no column {column!r} for {role}"
                    f"{nearest(column, sorted(known))}. Columns: {names}."
                )
        for role in ROLES:
            column = self.columns.get(role, role)
            if known.count(column) > 1:
                raise ConfigError(
                    f"source {self.source}: {where} has column {column!r} {known.count(column)} "
                    f"times. Rename all but the one that is the {role}."
                )

    def read(self, rows: Iterable[Any], until: int | None) -> Parsed:
        """The facts in the rows that count on day `until`.

        until  day number (`discovery.facts.dates.days`); None takes all rows

        Each row is a fact or a skip with its reason. A row of a known subject and relation that
        cannot be read otherwise is a skip and an unreadable fact.
        """
        facts: dict[str, list[Fact]] = {}
        entities: dict[str, Entity] = {}
        skips: list[Skip] = []
        unnamed: list[Skip] = []
        has_ids = "subject_id" in self.columns
        for row in rows:
            try:
                said = self._statement(row, until)
            except ValueError as error:
                lost = isinstance(error, _Lost)
                skips.append(Skip(self.source, str(error), _sample(row, self.known), damage=lost))
                continue
            same = facts.setdefault(said.fact.statement_id, [])
            if said.fact in same:
                skips.append(Skip(self.source, REPEATED, _sample(row, self.known)))
                continue
            same.append(said.fact)
            for entity in said.entities:
                entities.setdefault(entity.id, entity)
            if said.fault is not None:
                skips.append(Skip(self.source, said.fault, _sample(row, self.known)))
            if not said.has_id:
                unnamed.append(Skip(self.source, WITHOUT_ID, _sample(row, self.known)))
            has_ids |= said.has_id
        told_apart = [fact for same in facts.values() for fact in _told_apart(same)]
        skips += unnamed if has_ids else ()
        return Parsed(tuple(told_apart), tuple(entities.values()), tuple(skips))

    def _statement(self, row: Any, until: int | None) -> _Statement:
        """What a row says; the fact is an unreadable one where its value or a date cannot be read.

        Raises `_Lost` or `_NotCounted` with a reason that does not quote the row.
        """
        refused = None
        if isinstance(row, RefusedRow):
            if row.cells is None:
                raise _Lost(row.reason)
            refused, row = row.reason, row.cells
        if not isinstance(row, Mapping):
            raise _Lost("row is not an object of columns")
        cells = self._cells(row)
        text, fault = cells.text, refused or cells.fault
        point, start, end = (cells.dates[role] for role in DATES)
        if any(not _is_known(known, until) for known in (point, start)):
            raise _NotCounted(LATER)
        subject, value = text["subject_id"] or text["subject"], text["object_id"] or text["object"]
        fact = Fact(
            statement_id=self._statement_id(row, subject, cells),
            subject=subject,
            relation=text["relation"],
            value="" if fault else value,
            value_type="other" if fault else "entity" if text["object_id"] else "string",
            snaktype="unreadable" if fault else "value",
            start=start,
            end=end if _is_known(end, until) else None,
            point=point,
            source=self.source,
        )
        named = [Entity(id=subject, label=text["subject"] or None, source=self.source)]
        if text["object_id"]:
            named.append(Entity(id=value, label=text["object"] or None, source=self.source))
        return _Statement(fact, tuple(named), fault, bool(text["subject_id"]))

    def _cells(self, row: Mapping[str, Any]) -> _Cells:
        """The cells of a row. Raises `_Lost` where subject or relation cannot be read,
        `_NotCounted` where all are empty."""
        text: dict[str, str] = {}
        faults: dict[str, str] = {}
        identity: dict[str, str] = {}
        dates: dict[str, Interval | None] = {}
        for role in ROLES:
            cell = row.get(self.columns.get(role, role))
            text[role], dates[role] = "", None
            try:
                text[role] = identity[role] = cell_text(cell, role)
                if role in DATES:
                    day = dates[role] = read_date(text[role], role)
                    identity[role] = to_iso(day) if day else ""
            except ValueError as error:
                faults[role], identity[role] = str(error), printable(str(cell))
        if not faults and not any(text.values()):
            raise _NotCounted("row is empty")
        missing = {role: f"row without {role}" for role in REQUIRED if not text[role]}
        of_subject = "subject_id" if "subject_id" in faults else "subject"
        unknown = () if text["subject_id"] else (of_subject,)
        for role in (*unknown, "relation"):
            if not text[role] or role in faults:
                raise _Lost(faults.get(role) or missing[role])
        reasons = [*faults.values(), *missing.values()]
        return _Cells(text, dates, identity, reasons[0] if reasons else None)

    def _statement_id(self, row: Mapping[str, Any], subject: str, cells: _Cells) -> str:
        """Id of a row's statement, by its key or by its content. Raises `_Lost` without a key."""
        if self.key is None:
            own = cells.identity
            value = own["object_id"] or own["object"]
            identity = (self.source, subject, own["relation"], value, own["date"], own["start"])
        else:
            try:
                key = cell_text(row.get(self.key), "key")
            except ValueError as error:
                raise _Lost(str(error)) from None
            if not key:
                raise _Lost("row without key")
            identity = (self.source, key)
        digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
        return f"{self.source}${digest[:24]}"


def _told_apart(same: list[Fact]) -> list[Fact]:
    """Facts of one id that differ, each with an id of its own: the one that can be read and ends
    last keeps it."""
    if len(same) == 1:
        return same
    last = max(same, key=_precedence)
    others = [fact for fact in same if fact is not last]
    digests = [hashlib.sha256(repr(fact).encode()).hexdigest()[:8] for fact in others]
    apart = [
        replace(fact, statement_id=f"{fact.statement_id}-{digest}")
        for fact, digest in zip(others, digests, strict=True)
    ]
    return [last, *apart]


def _precedence(fact: Fact) -> tuple[bool, bool, int, str]:
    """The order of facts of one id; the greatest keeps the id."""
    ends = 0 if fact.end is None else fact.end.latest
    return fact.snaktype == "value", fact.end is None, ends, repr(fact)


def printable(text: str) -> str:
    """The text with everything that is not UTF-8 written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_known(interval: Interval | None, until: int | None) -> bool:
    """Whether all days that a date can mean are up to `until`."""
    return interval is None or until is None or interval.latest - 1 <= until


def _sample(row: Any, known: Collection[str]) -> str:
    """The start of a row as text, for a skip; of the known columns."""
    if isinstance(row, RefusedRow):
        return printable(row.sample[:MAX_SAMPLE])
    if isinstance(row, Mapping):
        row = {name: value[:MAX_SAMPLE] if isinstance(value, str) else value
               for name, value in row.items() if name in known}  # fmt: skip
    return json.dumps(row, default=str)[:MAX_SAMPLE]
