"""Configs that set everything, and values that no setting expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import date, datetime, time
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from pipeline.config import Config

SOURCES: tuple[dict[str, Any], ...] = (
    {"kind": "table", "name": "t", "path": "people.jsonl", "columns": {"subject": "s"}},
    {"kind": "sql", "name": "q", "connect": "duckdb:", "query": "SELECT 1", "key": "k"},
    {"kind": "feed", "name": "f", "feeds": ["http://x.org/f"], "relations": ["P6"]},
    {"kind": "dump", "name": "d", "path": "d.json.gz", "properties": "wikidata"},
    {"kind": "rdf", "name": "r", "path": "r.ttl", "prefixes": {"http://x/": ""}},
    {"kind": "wikidata", "name": "w", "entities": ["Q1"], "contact": "me@x.org"},
)
"""A source of each kind."""
HOSTILE: tuple[Any, ...] = (
    *(True, 0, -1, 1, 1 << 62, 1 << 64, 10**5000, 0.5, -0.5, 1e308, float("nan"), float("inf")),
    *("", " ", "x", "\0", "a\nb", "../..", "/", "https://[", "[/b]", "é" * 300, "1656547200", "$X"),
    *(date(1, 1, 1), date(9999, 12, 31), datetime(2022, 6, 30, 5), time(5)),
    *([], [[]], [{}], ["a", "a"], [1, None], {}, {"a": 1}, {"": {"": {}}}, {"kind": "x"}),
    *([float("nan")], {"x": float("-inf")}, {"x": 10**5000}, {"\0": "\ud800"}),
)
"""Values of every type of TOML (and of `--set`), among them the extremes."""


def everything() -> dict[str, Any]:
    """A config with a source of each kind and two editions, whose settings all have a place."""
    return {
        "line": "l",
        "sources": [deepcopy(source) for source in SOURCES],
        "trust": {"revert_risk": {"contact": "me@x.org"}, "sources": {"t": {}}, "relations": {}},
        "schedule": {"cron": "0 3 * * *"},
        "editions": [{"as_of": date(2020, 1, 1)}, {"as_of": date(2021, 1, 1), "version": "v"}],
    }


def places(model: Any = Config, raw: Any = None, path: tuple[Any, ...] = ()) -> Iterator[tuple]:
    """The path of every setting of the schema, as keys and indices, given a config that has its
    tables; each table's own path too."""
    raw = everything() if raw is None and model is Config else raw
    if isinstance(raw, list):
        for n, item in enumerate(raw):
            yield (*path, n)
            chosen = [
                m for m in _models(model) if not isinstance(item, Mapping) or _is_kind(m, item)
            ]
            for inner in chosen[:1]:
                yield from places(inner, item, (*path, n))
        return
    for name, field in getattr(model, "model_fields", {}).items():
        yield (*path, name)
        below = raw.get(name) if isinstance(raw, Mapping) else None
        for inner in _models(field.annotation) if not isinstance(below, list) else ():
            yield from places(inner, below, (*path, name))
        if isinstance(below, list):
            yield from places(field.annotation, below, (*path, name))


def put(raw: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The config with a value at a path; tables on the way that were left out are made."""
    place: Any = raw
    for n, key in enumerate(path):
        kind, wanted = type(place), list if isinstance(key, int) else dict
        if kind is not wanted or (kind is list and key >= len(place)):
            return raw  # another value was put on the way
        if n == len(path) - 1:
            place[key] = value
        else:
            place = place[key] if kind is list else place.setdefault(key, {})
    return raw


def _is_kind(model: type[BaseModel], raw: Mapping[str, Any]) -> bool:
    """Whether a table is of the member of a union that `model` is."""
    kind = model.model_fields.get("kind")
    return kind is None or raw.get("kind") in get_args(kind.annotation)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = () if get_origin(annotation) is Literal else get_args(annotation)
    return [model for part in inner for model in _models(part)]
