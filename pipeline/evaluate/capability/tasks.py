"""Capability tasks: multiple-choice questions from a file, to measure a model's general capability.

A line of a task's file is an `Item` as JSON. The files of this package are in `data/`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from infra.errors import ConfigError, reason
from infra.files.digest import digest_of
from infra.files.regular import require_regular
from infra.settings import nearest

TASKS = Path(__file__).parent / "data"
"""Directory of the task files in this package."""
CARRIED = ("arc_challenge", "arc_easy", "mmlu", "openbookqa")
"""Names of the tasks in this package. Their prompts are those of lm-evaluation-harness."""


class Item(BaseModel):
    """One multiple-choice question. Raises ValueError where a field is invalid."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    query: str
    """The whole prompt, without the answer and the space before it."""
    choices: tuple[str, ...] = Field(min_length=2)
    """Two answers or more, without white space around them."""
    gold: int = Field(ge=0)
    """Index of the right choice, from 0."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Item:
        if not self.query or self.query != self.query.rstrip():
            raise ValueError(
                f"query {self.query[-20:]!r} is empty or ends in white space; the answer is put "
                "behind it after a space"
            )
        if any(not choice or choice != choice.strip() for choice in self.choices):
            raise ValueError(f"choices {self.choices} have an empty one, or one with spaces around")
        if self.gold >= len(self.choices):
            raise ValueError(f"gold = {self.gold} of {len(self.choices)} choices; it counts from 0")
        return self


@dataclass(frozen=True, slots=True)
class CapabilityTask:
    """A named list of items. Its score is the share of items that are answered right."""

    name: str
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        """Digest of the name and of all items."""
        return digest_of([self.name, [item.model_dump() for item in self.items]])

    @property
    def label(self) -> str:
        """Name and digest of the items, for the `data` of a protocol: `lm-eval:NAME@DIGEST`."""
        digest = digest_of([item.model_dump() for item in self.items])
        return f"lm-eval:{self.name}@{digest[:12]}"


def read_tasks(specs: Sequence[str], limit: int) -> tuple[CapabilityTask, ...]:
    """The tasks of the specs, each with its first `limit` items.

    A spec is a name of `CARRIED`, or `NAME=FILE.jsonl`. All tasks have the same number of items, so
    that they have the same weight in their mean. Raises ConfigError for an unknown or repeated
    name, a file that cannot be read, a line that is no `Item`, and a task with fewer items.
    """
    tasks = tuple(_read(spec, limit) for spec in specs)
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise ConfigError(f"evaluate.capability: two tasks have one name ({', '.join(names)}).")
    return tasks


def below(directory: Path, spec: str) -> str:
    """The spec with the path of its file made absolute, relative to `directory`. A spec that is a
    name only is returned unchanged."""
    name, equals, file = spec.partition("=")
    return f"{name}={(directory / file).absolute()}" if equals else spec


def _read(spec: str, limit: int) -> CapabilityTask:
    name, equals, file = spec.partition("=")
    if not equals and name not in CARRIED:
        raise ConfigError(
            f"evaluate.capability: {name!r} is unknown{nearest(name, CARRIED)}. Choose among "
            f"{', '.join(CARRIED)}, or give a file of your own as NAME=FILE.jsonl."
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ConfigError(
            f"evaluate.capability: {spec!r} names a task {name!r}. Use letters, digits, - and _."
        )
    path = Path(file) if equals else TASKS / f"{name}.jsonl"
    lines = _lines(path)
    if len(lines) < limit:
        raise ConfigError(
            f"evaluate.capability: task {name!r} has {len(lines)} items, and capability_limit is "
            f"{limit}. Tasks weigh alike in their mean: lower capability_limit, or add items."
        )
    found = enumerate(lines[:limit], start=1)
    return CapabilityTask(
        name, tuple(_item(line, f"{path} line {number}") for number, line in found)
    )


def _lines(path: Path) -> list[str]:
    try:
        require_regular(path)
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"evaluate.capability: {path}: {reason(error)}. Give a JSON Lines file."
        ) from None


def _item(line: str, where: str) -> Item:
    try:
        return TypeAdapter(Item).validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"evaluate.capability: {where}: {field + ': ' if field else ''}{said}. "
            'A line is {"query": TEXT, "choices": [TEXT, TEXT], "gold": INDEX}.'
        ) from None
