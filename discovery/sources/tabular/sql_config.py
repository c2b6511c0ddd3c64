"""Settings of a database source, and which queries and arguments they may hold."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from discovery.sources.settings import OWN_TRUST, SourceSettings
from discovery.sources.tabular.database import MAX_ANSWER_S, MAX_ROWS
from discovery.sources.tabular.driver import PARAMETER
from discovery.sources.tabular.row_reader import Columns
from infra.secrets.masks import SettingKind, pieces

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""Pattern of the column names that we write into a statement ourselves."""
_QUOTED = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | --[^\n]* | /\*.*?\*/""", re.VERBOSE | re.DOTALL
)
_FIRST = re.compile(r"\s*\(*\s*(select|with|from)\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(insert|update|delete|merge|into)\b", re.IGNORECASE)
_SECRET_NAME = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"://[^/\s]*:[^/\s]*@|(pass\w*|pwd|secret|token)\s*=", re.IGNORECASE)


def one_query(text: str) -> str:
    """The text without a semicolon at its end.

    Raises ValueError unless it is one SELECT statement (or WITH, or DuckDB's FROM) that does not
    write.
    """
    text = text.strip().removesuffix(";").rstrip()
    if PARAMETER in text:
        raise ValueError("query holds a NUL character")
    bare = _QUOTED.sub(" ", text)
    if ";" in bare:
        raise ValueError("query is more than one statement. Give one SELECT")
    if not _FIRST.match(bare):
        first = next(iter(bare.split()), "nothing")
        raise ValueError(f"query begins with {first}. Give one SELECT")
    written = _WRITES.search(bare)
    if written:
        raise ValueError(f"query has {written[0].upper()}, and sources are only read")
    return text


def no_secrets(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments themselves.

    Raises ValueError where one looks like a secret, or like a text with one, and no reference
    stands in its place.
    """
    for name, value in arguments.items():
        if not isinstance(value, str):
            continue
        looks = _SECRET_NAME.search(name) or _SECRET_TEXT.search(value)
        if looks and any(piece.certain for piece in pieces("arguments", {name: value})):
            raise ValueError(
                f"argument {name!r} holds a secret. Put it in an environment variable and write "
                'its name in its place, "$NAME" or "${NAME}"'
            )
    return arguments


class SqlConfig(SourceSettings):
    """Settings of a database source."""

    base_trust: ClassVar[float] = OWN_TRUST
    may_hold_secrets: ClassVar[Mapping[str, SettingKind]] = {
        "arguments": "arguments",
        "query": "query",
    }

    kind: Literal["sql"] = "sql"
    connect: str | None = Field(default=None, pattern=r"^(duckdb:.*|sqlite:.+)$")
    """`duckdb:PATH`, `duckdb:` for none but what the query names, or `sqlite:PATH`; relative to the
    config file."""
    module: str | None = None
    """Instead of `connect`: a DB-API 2.0 module, such as `psycopg`."""
    arguments: Annotated[Mapping[str, Any], AfterValidator(no_secrets)] = Field(
        default_factory=dict
    )
    """Of the module's `connect` function. `"$NAME"` or `"${NAME}"` is the environment variable
    NAME, `"${file:/PATH}"` the text of a file, at any depth of tables and lists."""
    query: Annotated[str, AfterValidator(one_query)]
    """One SELECT; `key`, `cursor` and the roles are columns of its result."""
    columns: Columns = Field(default_factory=dict)
    """Role -> column, where they differ; as of a table."""
    key: str = Field(pattern=NAME)
    """Column that is unique to a row; rows are read in its order."""
    cursor: str | None = Field(default=None, pattern=NAME)
    """Column that grows whenever a row is written: a time, a date or a number."""
    page_rows: int = Field(default=1000, ge=1)
    """Rows that are fetched and recorded together."""
    max_answer_s: float = Field(default=MAX_ANSWER_S, gt=0, le=threading.TIMEOUT_MAX, exclude=True)
    """Longest time, in seconds, that the database may take for its next rows; then the query is
    interrupted. It does not change what is read, so no record holds it."""
    max_rows: int = Field(default=MAX_ROWS, ge=1, exclude=True)
    """Rows of the largest result; a query that gives more is an error."""

    @model_validator(mode="after")
    def _one_place(self) -> SqlConfig:
        if (self.connect is None) == (self.module is None):
            raise ValueError("give `connect` (duckdb:PATH, sqlite:PATH) or `module`, one of them")
        if self.arguments and self.module is None:
            raise ValueError("`arguments` are those of a `module`")
        return self
