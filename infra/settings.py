"""Read settings from a TOML file or `key=value` words, and validate them.

An unknown key is refused with the nearest known one.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from infra.errors import ConfigError, reason
from infra.secrets.masks import mask_message, mask_setting

M = TypeVar("M")

MAX_DEPTH = 32
"""Levels of tables and lists in a config."""
MAX_INT = (1 << 63) - 1
"""The greatest integer that TOML asks of its readers."""
MAX_SHOWN = 200
"""Characters of a wrong value that an error shows."""


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises ConfigError where it cannot be read or parsed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: {reason(error)}. Give a TOML file.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config {path} is not TOML: {error}.") from None
    except RecursionError:
        raise ConfigError(f"config {path} is nested too deep to be read.") from None
    except ValueError:  # what Python says of such an integer is no advice for a config
        raise ConfigError(f"config {path} has an integer of thousands of digits.") from None


def validate(model: type[M], raw: Mapping[str, Any], where: str) -> M:
    """An instance of `model`, a pydantic model or dataclass, made of the settings in `raw`.

    where  begins the error's line: what the settings are of

    Raises ConfigError, one line that names the first setting that is wrong.
    """
    if fault := _unfit(raw):
        raise ConfigError(f"{where}: {fault}")
    try:
        return TypeAdapter(model).validate_python(dict(raw))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(model, error.errors()[0])}") from None


def faults(model: type[Any], raw: Mapping[str, Any]) -> list[str]:
    """A line on each setting in `raw` that is wrong for `model`; empty where all are right."""
    if fault := _unfit(raw):
        return [fault]
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

    Raises ConfigError for a word without `=`, and for one below a key that has a value itself.
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
            if not isinstance(place, dict):
                raise ConfigError(
                    f"setting {pair!r}: {part!r} has a value, so nothing is below it."
                )
        place[last] = literal(value)
    return result


def literal(text: str) -> Any:
    """The value that `text` stands for: its JSON where it is JSON, a list where it has commas, else
    the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return [literal(part) for part in text.split(",")] if "," in text else text


def _explain(model: type[Any], fault: Mapping[str, Any]) -> str:
    """One line on a thing that pydantic found wrong, an entry of `ValidationError.errors`."""
    *parents, last = fault["loc"] or ("",)
    path = ".".join(map(str, fault["loc"]))[:MAX_SHOWN]
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _fields(model, parents)
        return f"setting {path!r} is unknown{nearest(str(last), known)}. Known: {', '.join(known)}."
    if fault["type"] == "missing":
        return f"setting {path!r} is missing."
    if fault["type"] == "value_error":  # a check of our own, whose message says what was given
        said = mask_message(str(fault.get("ctx", {}).get("error")))
        return f"{_printable(said).rstrip('.')}."
    given = mask_message(repr(mask_setting(str(last), fault["input"])))
    if len(given) > MAX_SHOWN:
        given = f"{given[:MAX_SHOWN]}..."
    return f"setting {path!r} = {given}: {_printable(fault['msg'])}."


def _printable(text: str) -> str:
    """The text on one line: what cannot be printed is written as in a string of Python."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _unfit(value: Any, path: tuple[str, ...] = ()) -> str | None:
    """What is wrong with the first value that no setting may have, since not every reader of JSON
    takes it; None where there is none."""
    where = f"setting {'.'.join(path)[:MAX_SHOWN]!r}"
    if len(path) > MAX_DEPTH:
        return f"{where} is nested deeper than {MAX_DEPTH} levels."
    if isinstance(value, Mapping | list | tuple):
        named = value.items() if isinstance(value, Mapping) else enumerate(value)
        found = (_unfit(key) or _unfit(item, (*path, str(key))) for key, item in named)
        return next(filter(None, found), None)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where} = {value}: give a finite number."
    if isinstance(value, int) and not -MAX_INT - 1 <= value <= MAX_INT:
        return f"{where}: the integer has more than 64 bits."
    if isinstance(value, str) and ("\0" in value or not is_unicode(value)):
        return f"{where} = {value[:MAX_SHOWN]!r}: text has no NUL and no half of a character."
    return None


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
