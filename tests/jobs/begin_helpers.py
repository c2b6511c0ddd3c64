"""Flags of `corrigenda init` for the sources of `source_worlds`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

NOT_ASKED = ("kind", "min_interval_s")


def flags_of(settings: str) -> list[str]:
    """A source's settings, as TOML, as words of the command line."""
    given = tomllib.loads(settings)
    words = ["--kind", given["kind"]]
    for key, value in given.items():
        if key not in NOT_ASKED:
            words += ["--set", f"{key}={_answer(value)}"]
    return words


def _answer(value: Any) -> str:
    """A value as a user types it."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={short}" for key, short in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, list) else str(value).strip()
