"""The identity of a stage's inputs: JSON values from which the fingerprint of its output is made.

A stage takes one frozen dataclass. Each of its fields is part of the identity unless it is marked
`NO_IDENTITY`, so a setting that changes the result cannot be forgotten. A value with a digest
(output, model, text) is represented by the digest. A path is refused, since it says nothing of the
content.
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
from infra.secrets.settings import SecretSettings

MAX_CHARS = 2000
"""Characters above which a value other than settings is recorded as its digest."""


NO_IDENTITY: Mapping[str, bool] = MappingProxyType({"identity": False})
"""Metadata for a field of a dataclass that does not change the output, such as a cache."""


def identity_of(inputs: Any, *, written: bool = False) -> dict[str, Any]:
    """Field name -> its value as JSON, for the fields of a dataclass that are part of the identity.

    written  as it is written into a record, without what may be a secret

    Raises TypeError for a value that has no identity, such as a path.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(inputs):
        if field.metadata == NO_IDENTITY:
            continue
        given = getattr(inputs, field.name)
        value = _json(_written(given) if written else given, field.name)
        long = len(repr(value)) > MAX_CHARS and not _is_settings(given)
        found[field.name] = digest_of(value) if long else value
    return found


def _written(value: Any) -> Any:
    """Settings that may hold secrets, or a list of them, as JSON that may be written; any other
    value itself."""
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return value.model_dump(mode="json") if isinstance(value, SecretSettings) else value


def _is_settings(value: Any) -> bool:
    """Whether a value is a settings model or a list of them. These are recorded in full, so that an
    error message can name the setting that changed."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, BaseModel)


def _json(value: Any, name: str) -> Any:
    """A value as JSON; equal contents give equal JSON. `name` is for the error message."""
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
