"""Read one cell of a table as text, whatever type a file or a driver gives it.

A whole number is the same text however it is stored: 1234, 1234.0 and 1234.00 are `1234`, so that
an export that turns a column of ids into floating point (pandas does where one is missing) names
the same things. Text is left as it is written, but for ids, in which `1234.0` is `1234` too.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

MAX_CELL_CHARS = 10_000
"""Characters of the longest cell; a longer one is a document, not a name or a value."""
MAX_DIGITS = 39
"""Digits of the largest number, those of 128 bits."""
MAX_EXACT = 2**53
"""From here on a 64-bit floating-point number does not hold every whole number."""
IDS = ("subject_id", "object_id", "key")
"""Roles of cells that identify something."""
DATES = ("date", "start", "end")
"""Roles of cells that hold a date."""
NO_VALUE = frozenset({"\\N", "NULL", "<NA>", "NaT", "nan"})
"""What exports write for a missing cell (MySQL, SQL Server, pandas) that is no name of anything."""
NO_ID = NO_VALUE | {"NaN", "None", "null", "#N/A", "N/A"}
"""What they write for a missing id. `NA` is not here: it is the code of Namibia."""

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")
_EXPONENT = re.compile(r"-?\d(?:\.\d+)?e\+\d\d+")
"""A floating-point number as Python, pandas and Arrow write it where it is large."""


@dataclass(frozen=True, slots=True)
class RefusedCell:
    """A cell that the reader of a file could not turn into a value."""

    reason: str
    """Why, as the end of a sentence that begins with the cell's role."""
    text: str
    """What it holds."""

    def __str__(self) -> str:
        return self.text


def cell_text(value: Any, role: str) -> str:
    """A cell as text, empty where it is missing. Dates become ISO text, a time stamp at midnight
    its day. Raises ValueError with a reason that does not quote the cell."""
    if value is None:
        return ""
    if isinstance(value, RefusedCell):
        raise ValueError(f"{role} {value.reason}")
    if isinstance(value, bytes):
        value = decoded(value)
    if isinstance(value, str):
        return _text(value, role)
    if isinstance(value, bool):
        if role != "object":
            raise ValueError(f"{role} is a truth value")
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        return _number(value, role)
    if isinstance(value, date | time):
        return moment_text(value)
    if isinstance(value, UUID):
        return str(value)
    raise ValueError(f"{role} is not text, a number or a date")


def json_cell(value: Any) -> Any:
    """A cell as a JSON value, the same for every driver. A cell that is no text, number or date
    becomes a list with the name of its type, which the row reader refuses."""
    if isinstance(value, bytes):
        value = decoded(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[: MAX_CELL_CHARS + 1]  # long enough to be refused
    if isinstance(value, date | time):
        return moment_text(value)
    if isinstance(value, Decimal):
        whole = whole_number(value)
        return str(value) if whole is None else whole
    return str(value) if isinstance(value, UUID) else [type(value).__name__]


def decoded(value: bytes) -> str | bytes:
    """Bytes as the text they are in UTF-8, which writers without a type for text store so; the
    bytes themselves where they are no text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value
    return value if "\0" in text else text


def moment_text(value: date | time) -> str:
    """A date, time or time stamp as ISO text; a time stamp at midnight as its day."""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat()


def whole_number(value: Decimal) -> int | None:
    """The whole number that a decimal is; None for another one, and where it is too large."""
    if not value.is_finite() or value.adjusted() >= MAX_DIGITS:
        return None
    return int(value) if value == value.to_integral_value() else None


def _text(text: str, role: str) -> str:
    """A cell that is text. Raises ValueError."""
    if len(text) > MAX_CELL_CHARS:
        raise ValueError(f"{role} is longer than {MAX_CELL_CHARS} characters")
    if "\0" in text:
        raise ValueError(f"{role} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{role} is not UTF-8 text") from None
    text = text.strip()
    if text in (NO_ID if role in IDS or role in DATES else NO_VALUE):
        return ""
    if role in IDS:
        if _EXPONENT.fullmatch(text):
            return _number(float(text), role)
        if whole := _WHOLE.fullmatch(text):
            return _exact(int(whole[1]), role)
    return text


def _number(value: int | float | Decimal, role: str) -> str:
    """A cell that is a number. Raises ValueError."""
    if not isinstance(value, int) and not math.isfinite(value):
        if value != value and (role in IDS or role in DATES):
            return ""  # how a missing number is stored as floating point
        raise ValueError(f"{role} is not a finite number")
    if isinstance(value, Decimal):
        whole = whole_number(value)
        if whole is None and abs(value.adjusted()) >= MAX_DIGITS:
            raise ValueError(f"{role} is a number of too many digits")
        return str(value if whole is None else whole)
    if isinstance(value, int):
        if value.bit_length() > 128:
            raise ValueError(f"{role} is a number of too many digits")
        return str(value)
    return _exact(int(value), role) if value.is_integer() else shortest(value)


def _exact(whole: int, role: str) -> str:
    """A whole number out of floating point. Raises ValueError where its last digits are lost."""
    if abs(whole) >= MAX_EXACT:
        raise ValueError(f"{role} is a floating-point number too large to be exact")
    return str(whole)


def shortest(value: float) -> str:
    """The shortest text of a number with a fraction: `0.1` also for the 32-bit number next to
    0.1, which as a 64-bit number is 0.10000000149011612."""
    single = np.float32(value)
    return str(single) if float(single) == value else str(value)
