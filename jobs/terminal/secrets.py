"""Warn of secrets that stand in a config in full."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from discovery.sources.settings import SourceSettings
from infra.display import say


def warn_of_secrets(sources: Sequence[SourceSettings]) -> None:
    """Print a line on standard error for each source whose settings hold a secret in full."""
    for source in sources:
        if names := source.literal_secrets:
            settings = " and ".join(f"`{name}`" for name in names)
            say(
                f"warning: source {source.name}: {settings} holds a secret in full, which is "
                "written nowhere else. Better write ${NAME} in its place, and set the environment "
                "variable NAME.",
                file=sys.stderr,
            )
