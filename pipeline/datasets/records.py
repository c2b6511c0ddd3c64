"""Reads the records of a dataset file, and checks each against the schema of its dataset.

A file is .json (a list) or .jsonl, or either with gzip. The error for a record that does not match
has one line, which names the file, the record, the field and the expected value.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.errors import ConfigError, reason
from infra.files.regular import require_regular
from infra.settings import nearest

R = TypeVar("R", bound="Record")
SHOWN = 60
"""Characters of a wrong value that an error shows."""


class Record(BaseModel):
    """One record with its publisher's field names, without white space around texts. Unknown fields
    are errors unless a subclass ignores them."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A record as parsed JSON, before it is checked against a schema."""

    where: str
    """File and line or record number, for error messages."""
    number: int
    """Place in the file, from 1. Records without an id of their own use it as their id."""
    raw: Any
    """The parsed JSON."""

    def fields(self) -> frozenset[str]:
        """The record's field names; empty where it is not a JSON object."""
        return frozenset(self.raw) if isinstance(self.raw, dict) else frozenset()

    def read(self, schema: type[R]) -> R:
        """The record, checked against `schema`. Raises ConfigError, with a message of one line,
        where it does not match."""
        try:
            return schema.model_validate(self.raw)
        except ValidationError as error:
            raise ConfigError(f"{self.where}: {_explain(schema, error)}") from None


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """The file, or the two files, of a dataset."""

    path: Path
    relations: Path | None = None
    """File with templates and answer space of each relation, for datasets that have such a file."""

    def rows(self) -> Iterator[Row]:
        """The file's records in their order. Raises ConfigError for a file that cannot be read."""
        return read_rows(self.path)


def read_rows(path: Path) -> Iterator[Row]:
    """Records of a file in their order. Raises ConfigError for a file that is missing, of another
    kind than .json or .jsonl, not JSON, or not a list."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "jsonl":
        # Lines end in \n only: JSON strings may hold U+2028, at which str.splitlines splits.
        for number, line in enumerate(_text(path).split("\n"), 1):
            if line.strip():
                where = f"{path}, line {number}"
                yield Row(where, number, _parsed(line, where))
    elif kind == "json":
        raw = _parsed(_text(path), str(path))
        if not isinstance(raw, list):
            raise ConfigError(f"{path} holds one {type(raw).__name__}. Give a list of records.")
        for number, record in enumerate(raw, 1):
            yield Row(f"{path}, record {number}", number, record)
    else:
        raise ConfigError(f"{path} is of no known kind. Give .json or .jsonl, or either with .gz.")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ConfigError for a file without one."""
    raw = _parsed(_text(path), str(path))
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds a {type(raw).__name__}. Give a JSON object.")
    return raw


def _text(path: Path) -> str:
    try:
        require_regular(path)
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ConfigError(f"{path} is not whole gzip data. Fetch it again.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(f"{path}: {reason(error)}. Give a dataset's file.") from None


def _parsed(text: str, where: str) -> Any:
    """The text as JSON. NaN, which pandas writes for a missing value, is read as None."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not JSON: {error.msg} at character {error.pos}.") from None


def _explain(schema: type[Record], error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    known = list(schema.model_fields)
    if first["type"] == "missing":
        return f"field {field!r} is missing. A {schema.__name__} has {', '.join(known)}."
    if first["type"] == "extra_forbidden":
        return (
            f"field {field!r} is unknown{nearest(str(first['loc'][-1]), known)}. "
            f"A {schema.__name__} has {', '.join(known)}."
        )
    value = repr(first["input"])
    shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
    return f"field {field!r} = {shown}: {first['msg']}."
