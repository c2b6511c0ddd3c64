"""Turn the rows of a table into facts: the role of each column, and which cells are refused.

A row counts on day T if the last day that its date can mean is not after T: "2015" counts from
2015-12-31 on. An end date after T is not known on T, so the row then has none. Which of several
dated rows is the current one, the diff decides.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator

from discovery.facts.dates import iso_interval
from discovery.facts.fact import Entity, Fact, Interval
from discovery.sources.observation import MAX_SAMPLE, Parsed, Skip
from infra.errors import ConfigError
from infra.settings import nearest

ROLES = ("subject_id", "subject", "relation", "object_id", "object", "date", "start", "end")
REQUIRED = ("subject", "relation", "object")
MAX_CELL_CHARS = 10_000
"""Characters of the longest cell; a longer one is a document, not a name or a value."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReader:
    """Turns the rows of one source into facts."""

    source: str
    columns: Mapping[str, str]
    """Role -> column, where they differ."""
    key: str | None = None
    """Column that identifies the row, so that a changed row keeps its statement id. Without it the
    id is made of the row's content."""

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
        """The facts in the rows that count on day `until`; malformed rows are skips.

        until  day number (`discovery.facts.dates.days`); None takes all rows
        """
        facts: dict[str, Fact] = {}
        entities: dict[str, Entity] = {}
        skips: list[Skip] = []
        for row in rows:
            try:
                fact, named = self._fact(row, until)
            except ValueError as error:
                skips.append(Skip(self.source, str(error), _sample(row)))
                continue
            if fact is not None:
                facts.setdefault(fact.statement_id, fact)
                for entity in named:
                    entities.setdefault(entity.id, entity)
        return Parsed(tuple(facts.values()), tuple(entities.values()), tuple(skips))

    def _fact(self, row: Any, until: int | None) -> tuple[Fact | None, tuple[Entity, ...]]:
        """The fact in a row and the entities it names; None where the row does not count yet.

        Raises ValueError with a reason that does not quote the row.
        """
        if isinstance(row, RefusedRow):
            raise ValueError(row.reason)
        if not isinstance(row, Mapping):
            raise ValueError("row is not an object of columns")
        cell = {role: _cell(row.get(self.columns.get(role, role)), role) for role in ROLES}
        for role in REQUIRED:
            if not cell[role]:
                raise ValueError(f"row without {role}")
        dates = {role: _date(cell[role], role) for role in ("date", "start", "end")}
        point, start, end = dates["date"], dates["start"], dates["end"]
        if any(not _is_known(known, until) for known in (point, start)):
            return None, ()
        subject, value = cell["subject_id"] or cell["subject"], cell["object_id"] or cell["object"]
        fact = Fact(
            statement_id=self._statement_id(row, subject, value, cell),
            subject=subject,
            relation=cell["relation"],
            value=value,
            value_type="entity" if cell["object_id"] else "string",
            start=start,
            end=end if _is_known(end, until) else None,
            point=point,
            source=self.source,
        )
        named = [Entity(id=subject, label=cell["subject"], source=self.source)]
        if cell["object_id"]:
            named.append(Entity(id=value, label=cell["object"], source=self.source))
        return fact, tuple(named)

    def _statement_id(
        self, row: Mapping[str, Any], subject: str, value: str, cell: Mapping[str, str]
    ) -> str:
        """Id of a row's statement, by its key or by its content. Raises ValueError."""
        if self.key is None:
            identity = (self.source, subject, cell["relation"], value, cell["date"], cell["start"])
        else:
            key = _cell(row.get(self.key), "key")
            if not key:
                raise ValueError("row without key")
            identity = (self.source, key)
        digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
        return f"{self.source}${digest[:24]}"


def printable(text: str) -> str:
    """The text with everything that is not UTF-8 written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cell(value: Any, role: str) -> str:
    """A cell as text; dates become ISO text. Raises ValueError with a reason."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"{role} is not text, a number or a date")
    if not isinstance(value, str):
        if isinstance(value, int) and value.bit_length() > 128:
            raise ValueError(f"{role} is a number of too many digits")
        if not math.isfinite(value):
            raise ValueError(f"{role} is not a finite number")
        return str(value)
    if len(value) > MAX_CELL_CHARS:
        raise ValueError(f"{role} is longer than {MAX_CELL_CHARS} characters")
    if "\0" in value:
        raise ValueError(f"{role} holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{role} is not UTF-8 text") from None
    return value.strip()


def _date(text: str, role: str) -> Interval | None:
    """The days that a cell's date can mean, None for an empty one. Raises ValueError."""
    try:
        return iso_interval(text) if text else None
    except ValueError:
        raise ValueError(f"{role} is not an ISO date or a year") from None


def _is_known(interval: Interval | None, until: int | None) -> bool:
    """Whether all days that a date can mean are up to `until`."""
    return interval is None or until is None or interval.latest - 1 <= until


def _sample(row: Any) -> str:
    """The start of a row as text, for a skip."""
    if isinstance(row, RefusedRow):
        return printable(row.sample[:MAX_SAMPLE])
    if isinstance(row, Mapping):
        row = {name: value[:MAX_SAMPLE] if isinstance(value, str) else value
               for name, value in row.items()}  # fmt: skip
    return json.dumps(row, default=str)[:MAX_SAMPLE]
