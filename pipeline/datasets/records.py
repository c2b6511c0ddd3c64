"""Raw records of a dataset file: .json (a list) or .jsonl, either also gzipped, each checked
against the schema of its dataset.

A record that breaks it is an error of one line: file, record, field, what was expected.
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

from infra.errors import ConfigError
from infra.settings import nearest

R = TypeVar("R", bound="Record")
SHOWN = 60
"""Characters of a wrong value that an error shows."""


class Record(BaseModel):
    """One record as its publisher writes it, but for white space around texts. Unknown fields are
    errors unless a subclass ignores them."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A record that is JSON, and nothing more is known of it."""

    where: str
    """File and place, for people."""
    number: int
    """Place in the file, from 1; the id of records that have none of their own."""
    raw: Any

    def fields(self) -> frozenset[str]:
        """Names of its fields; none where it is no object."""
        return frozenset(self.raw) if isinstance(self.raw, dict) else frozenset()

    def read(self, schema: type[R]) -> R:
        """As a record of this schema. Raises ConfigError, one line, for one that is not."""
        try:
            return schema.model_validate(self.raw)
        except ValidationError as error:
            raise ConfigError(f"{self.where}: {_explain(schema, error)}") from None


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """What a dataset is read from."""

    path: Path
    relations: Path | None = None
    """Templates and answer space of each relation, of datasets that keep them in a second file."""

    def rows(self) -> Iterator[Row]:
        """Its records in their order. Raises ConfigError for a file that cannot be read."""
        return read_rows(self.path)


def read_rows(path: Path) -> Iterator[Row]:
    """Records of a file in their order. Raises ConfigError: no such file, not JSON, no list."""
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
    """A JSON object. Raises ConfigError for a file that is none."""
    raw = _parsed(_text(path), str(path))
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds a {type(raw).__name__}. Give a JSON object.")
    return raw


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ConfigError(f"{path} is not whole gzip data. Fetch it again.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}. Give a dataset's file.") from None


def _parsed(text: str, where: str) -> Any:
    """JSON; NaN, which pandas writes for a missing value, is a missing value."""
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
