"""What a stage's output is known by: the fields of the frozen value that the stage takes.

Every field counts, unless it is marked `NO_IDENTITY`; so a setting that changes the result cannot
be left out of the fingerprint by an oversight. What has a digest counts by its digest: outputs,
models, texts. A path is no content and is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from infra.files.digest import digest_of

MAX_CHARS = 2000
"""A longer value that is no settings stands in the record by its digest."""


NO_IDENTITY: Mapping[str, bool] = MappingProxyType({"identity": False})
"""Metadata of a dataclass's field that does not change what a stage makes, such as a cache."""


def identity_of(inputs: Any) -> dict[str, Any]:
    """A dataclass's fields as JSON values, by name. Raises TypeError for what has no identity."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(inputs):
        if field.metadata == NO_IDENTITY:
            continue
        given = getattr(inputs, field.name)
        value = _json(given, field.name)
        long = len(repr(value)) > MAX_CHARS and not _is_settings(given)
        found[field.name] = digest_of(value) if long else value
    return found


def _is_settings(value: Any) -> bool:
    """Whether a value is settings, or a list of them: those stay readable, so that a message can
    name the one that has changed."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, BaseModel)


def _json(value: Any, name: str) -> Any:
    """A value as JSON that is the same whenever the content is."""
    if value is None or isinstance(value, bool | int | float | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(digest := getattr(value, "digest", None), str) and digest:
        return digest
    if callable(identity := getattr(value, "identity", None)):
        return identity()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, date):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _json(getattr(value, field.name), f"{name}.{field.name}")
            for field in dataclasses.fields(value)
            if field.metadata != NO_IDENTITY
        }
    if isinstance(value, Mapping):
        return {str(key): _json(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((_json(item, name) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [_json(item, name) for item in value]
    raise TypeError(
        f"{name} is a {type(value).__name__}, which has no identity: give what it holds, its "
        "digest, or mark the field NO_IDENTITY."
    )
