"""In which inputs a finished output differs from the one that is wanted under its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.files.digest import canonical_json

SCHEMA = 2
"""Version of the format of a record. In version 1 fingerprints were made in another way."""


def conflict(path: Path, record: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The error message for a finished output with another fingerprint; it names the inputs that
    differ."""
    if record["schema"] != SCHEMA:
        return (
            f"{path} was made by an earlier version of Corrigenda, which knew outputs by other "
            "fingerprints: it can be read and built on, but not found again. Leave finished "
            "editions out of the config and go on with a later one, or give another --workspace."
        )
    old, new = (_flat(inputs) for inputs in _both(record, wanted))
    changed = [
        f"{key}: {_short(old.get(key))} -> {_short(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    shown = "; ".join(changed[:3]) + (f"; and {len(changed) - 3} more" if len(changed) > 3 else "")
    return (
        f"{path} was made from something else ({shown}). A version means one thing for ever: give "
        "the edition another version, or pass --replace to discard unreleased output of this one."
    )


def differing_inputs(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> set[str]:
    """Names of the inputs in which a finished output and a wanted one differ."""
    old, new = _both(record, wanted)
    return {name for name in {*old, *new} if old.get(name) != new.get(name)}


def _both(
    record: Mapping[str, Any], wanted: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The inputs of a finished output and of a wanted one, as JSON values by name."""
    return _inputs(record["made_from"]), _inputs(json.loads(canonical_json(wanted)))


def _inputs(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of an output by name, and the version of the code."""
    return {"code": made_from["code"], **made_from["inputs"]}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys joined by dots."""
    if isinstance(value, Mapping):
        return {
            k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()
        }
    return {prefix.rstrip("."): value}


def _short(value: Any) -> str:
    """A value as JSON of at most 40 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
