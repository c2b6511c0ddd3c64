"""Read settings from a TOML file or `key=value` words, and validate them.

An unknown key is refused with the nearest known one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from infra.errors import ConfigError
from infra.secrets.masks import mask_message, mask_setting

M = TypeVar("M")


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises ConfigError where it cannot be read or parsed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"config {path}: {reason}. Give a TOML file.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config {path} is not TOML: {error}.") from None


def validate(model: type[M], raw: Mapping[str, Any], where: str) -> M:
    """An instance of `model`, a pydantic model or dataclass, made of the settings in `raw`.

    where  begins the error's line: what the settings are of

    Raises ConfigError, one line that names the first setting that is wrong.
    """
    try:
        return TypeAdapter(model).validate_python(dict(raw))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(model, error.errors()[0])}") from None


def faults(model: type[Any], raw: Mapping[str, Any]) -> list[str]:
    """A line on each setting in `raw` that is wrong for `model`; empty where all are right."""
    try:
        TypeAdapter(model).validate_python(dict(raw))
    except ValidationError as error:
        return [_explain(model, fault) for fault in error.errors()]
    return []


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the known word nearest to `word`; empty where none is near."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def nested(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings of `key=value` words: `a.b=1` gives {"a": {"b": 1}}. Of equal keys the last counts.

    Raises ConfigError for a word without `=`.
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        path, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"setting {pair!r} has no value. Write key=value, without spaces.")
        *parents, last = path.split(".")
        place = result
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = literal(value)
    return result


def literal(text: str) -> Any:
    """The value that `text` stands for: its JSON where it is JSON, a list where it has commas, else
    the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [literal(part) for part in text.split(",")] if "," in text else text


def _explain(model: type[Any], fault: Mapping[str, Any]) -> str:
    """One line on a thing that pydantic found wrong, an entry of `ValidationError.errors`."""
    *parents, last = fault["loc"] or ("",)
    path = ".".join(map(str, fault["loc"]))
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _fields(model, parents)
        return f"setting {path!r} is unknown{nearest(str(last), known)}. Known: {', '.join(known)}."
    if fault["type"] == "missing":
        return f"setting {path!r} is missing."
    if fault["type"] == "value_error":  # a check of our own, whose message says what was given
        return f"{mask_message(str(fault.get('ctx', {}).get('error'))).rstrip('.')}."
    given = repr(mask_setting(str(last), fault["input"]))
    return f"setting {path!r} = {mask_message(given)}: {fault['msg']}."


def _fields(model: Any, parents: Iterable[Any]) -> list[str]:
    """Names of the settings that exist under the path `parents`.

    Where a union of models is tagged by `kind`, the tag in the path selects the model.
    """
    models = _models_in(model)
    for part in parents:
        inner = [m for m in models if part in _settings(m)]
        if inner:
            models = [found for m in inner for found in _models_in(_settings(m)[part])]
        elif len(models) > 1:
            models = [m for m in models if part in get_args(_settings(m).get("kind"))] or models
    return list(dict.fromkeys(name for m in models for name in _settings(m)))


def _settings(model: Any) -> dict[str, Any]:
    """Name -> annotation of each field of a pydantic model or dataclass; of others, nothing."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    if not is_dataclass(model):
        return {}
    hints = get_type_hints(model)
    return {field.name: hints[field.name] for field in fields(model)}


def _models_in(annotation: Any) -> list[Any]:
    """The models and dataclasses inside an annotation such as `tuple[Table | Wikidata, ...]`."""
    if _settings(annotation):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
