"""Files of this machine that a source is read from."""

from __future__ import annotations

from pathlib import Path

from infra.errors import SourceError, reason


def cannot_read(source: str, path: Path | str, error: OSError) -> SourceError:
    """The error for a file of a source that the operating system does not let us read."""
    return SourceError(
        f"source {source}: cannot read {path}: {reason(error)}. Check `path`, which is relative to "
        "the config file."
    )
