"""Questions, the kinds of answers to them, and what looking at an answer finds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.errors import ConfigError
from infra.http.client import CONTACT

Answers = Mapping[str, str]
"""Key of a question -> what was answered; empty where an optional one was passed over."""


@dataclass(frozen=True, slots=True)
class Place:
    """The directories that paths are relative to."""

    here: Path
    """That of the command, in which a user types them."""
    config: Path
    """That of the config file, in which they are written."""

    def written(self, path: str) -> str:
        """A path as it is written into the config."""
        full = Path(path).expanduser()
        return path if full.is_absolute() else os.path.relpath(self.here / full, self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One setting that is asked for."""

    key: str
    """Name in `--set KEY=VALUE`, and in the config."""
    text: str
    """The question."""
    comment: str
    """What the setting means, for somebody who has never seen it; the comment in the config."""
    default: str = ""
    """The answer if nothing else is proposed; empty for none."""
    optional: bool = False
    """Whether it may be left unanswered."""
    read: Callable[[str, Place], Any] = lambda text, place: text
    """Answer -> value in the config. Raises ConfigError for an answer that is none."""
    table: str = ""
    """Name of the table that the setting stands in; empty for that of the source itself."""


@dataclass(frozen=True, slots=True)
class Unset:
    """A setting that is written behind a `#`, for whoever wants it."""

    line: str
    """The setting as TOML, one line."""
    comment: str


@dataclass(frozen=True, slots=True)
class Look:
    """What looking at an answer has found."""

    notes: tuple[str, ...] = ()
    """Sentences that are told."""
    proposals: Mapping[str, str] = field(default_factory=dict)
    """Key of a later question -> the answer that is proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is asked about a kind of source."""

    what: str
    """What it reads, in a few words."""
    questions: tuple[Question, ...]
    unset: tuple[Unset, ...] = ()
    look_after: str = ""
    """Key of the question behind which `look` is called; empty for never."""
    look: Callable[[Answers, Place], Look] = lambda answers, place: Look()
    """Looks at what the answers name. Raises CorrigendaError where it is not usable."""
    one_of: tuple[str, ...] = ()
    """Keys of optional questions of which one has to be answered."""


def words(text: str, place: Place) -> list[str]:
    """An answer of several words, between commas or spaces."""
    return [word for word in re.split(r"[,\s]+", text) if word]


def a_file(text: str, place: Place) -> str:
    """A path as it is written into the config. Raises ConfigError where there is no file."""
    if not (place.here / Path(text).expanduser()).is_file():
        raise ConfigError(f"{text!r} is no file here. Give the path of the file that holds facts.")
    return place.written(text)


def yes_or_no(text: str, place: Place) -> bool:
    """Whether the answer is yes. Raises ConfigError for one that is neither."""
    if text.lower() not in ("yes", "y", "true", "no", "n", "false"):
        raise ConfigError(f"{text!r} is neither yes nor no.")
    return text.lower() in ("yes", "y", "true")


def a_contact(text: str, place: Place) -> str:
    """A URL or e-mail address. Raises ConfigError for other text."""
    if not CONTACT.fullmatch(text):
        raise ConfigError(f"contact {text!r} is no URL or e-mail address, such as you@example.org.")
    return text


def pairs(text: str, place: Place) -> dict[str, str]:
    """An answer of pairs `A=B`, between commas or spaces. Raises ConfigError for another word."""
    found = {}
    for word in words(text, place):
        name, equals, value = word.rpartition("=")
        if not equals or not name:
            raise ConfigError(f"{word!r} is no pair. Write IRI=SHORT, several between commas.")
        found[name] = value
    return found
