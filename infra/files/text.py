"""Text files that a user names in a setting."""

from __future__ import annotations

from pathlib import Path

from infra.errors import ConfigError, reason
from infra.files.regular import irregular


def read_text_file(path: Path, what: str) -> str:
    """The content of a regular file of UTF-8 text.

    what  begins the error's line: the setting that names the file

    Raises ConfigError where there is none, where it is a directory, a pipe or a device, and where
    its content is other than text.
    """
    try:
        if kind := irregular(path):
            raise ConfigError(f"{what} {path}: it is {kind}. Give a UTF-8 text file.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path}: {reason(error)}. Give a UTF-8 text file.") from None
