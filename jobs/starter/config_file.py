"""Write the config of some answers, with a comment on each line, and only if it is valid."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from infra.errors import ConfigError, reason
from infra.files.atomic import write_atomic
from jobs.starter.kinds import KINDS
from pipeline.config import load_config

WIDTH = 100
"""Characters of a line of comment, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """Everything that a new config is made of."""

    line: str
    model: str
    kind: str
    """Kind of the source."""
    name: str
    """Name of the source."""
    values: Mapping[str, Any]
    """Key of a question -> value of the setting; those that were passed over are left out."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """One line of the config."""

    key: str
    value: Any
    comment: str


def config_text(starter: Starter, file: str) -> str:
    """The config as TOML.

    file  its name, for the commands in its comments
    """
    kind = KINDS[starter.kind]
    settings = [
        _Setting(f"{q.table}.{q.key}" if q.table else q.key, starter.values[q.key], q.comment)
        for q in kind.questions
        if q.key in starter.values
    ]
    given = {setting.key for setting in settings}
    unset = [one for one in kind.unset if one.line.partition(" =")[0] not in given]
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"toml": as_toml, "comment": as_comment}
    template = (files("jobs.starter") / "templates" / "config.toml.j2").read_text("utf-8")
    return environment.from_string(template).render(
        **{name: getattr(starter, name) for name in ("line", "model", "kind", "name")},
        what=kind.what,
        settings=settings,
        unset=unset,
        file=file,
        today=date.today().isoformat(),
    )


def write_config(path: Path, text: str, *, force: bool) -> None:
    """Write a config file, whole or not at all.

    force  whether a file that is there is replaced

    Raises ConfigError where there is one, or where the text is no valid config.
    """
    if path.exists() and not force:
        raise ConfigError(f"{path} exists. Give another FILE, or --force to replace it.")

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")
        try:
            load_config(temporary)
        except ConfigError as error:
            said = str(error).replace(str(temporary), str(path))
            raise ConfigError(f"{said} Nothing was written.") from None

    try:
        write_atomic(path, write)
    except UnicodeEncodeError:
        raise ConfigError(f"{path}: an answer is not text. Nothing was written.") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {reason(error)}. Give another FILE.") from error


def as_toml(value: Any) -> str:
    """A value as TOML on one line. Strings are as in JSON, which TOML reads alike."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{as_toml(k)} = {as_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def as_comment(text: str) -> str:
    """A text as lines of comment; its first letter is a capital and it ends in a full stop."""
    sentence = text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
    return "\n".join(
        textwrap.wrap(sentence, WIDTH - 2, initial_indent="# ", subsequent_indent="# ")
    )
