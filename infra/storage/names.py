"""Names of versions, lines, sources and releases, and the parts of paths that are made of them.

A name that a person gives is checked against an allow-list where it enters: in a config, on the
command line, in a log. It has ASCII letters, digits, `.`, `_` and `-`, so it means the same on
every file system and never leads to another directory. Two names that differ in case only are the
same on some file systems; a config with both is refused.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from infra.errors import ConfigError, StageError
from infra.files.digest import digest_of

MAX_CHARS = 128
"""Characters in the longest name. With what the workspace appends it is still a file name."""
MAX_PART_BYTES = 200
"""Bytes in the longest name of an output; most file systems allow 255, and suffixes need some."""
PARTIAL, LOCK, TEMPORARY = ".partial", ".lock", ".tmp"
"""Endings of what the workspace writes beside outputs."""
RESERVED = (PARTIAL, LOCK, TEMPORARY)
"""Endings that no name has, in any case of letters."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def check_name(name: str, what: str, *, reserved: tuple[str, ...] = ()) -> str:
    """The name, unchanged. Raises ConfigError for one that is not on the allow-list.

    what      begins the error's line: what is named
    reserved  endings that are refused beside those of the workspace
    """
    if fault := _fault(name, (*RESERVED, *reserved)):
        raise ConfigError(f"{what} {_shown(name)}: {fault}.")
    return name


def is_name(name: str) -> bool:
    """Whether a name is on the allow-list, such as that of a directory that another program may
    have made."""
    return _fault(name) is None


def path_part(name: str) -> str:
    """The name of a stage or an output, unchanged. Raises StageError unless it is one visible entry
    of a directory that the workspace does not use for something else."""
    if not is_path_part(name):
        raise StageError(
            f"{_shown(name)} is no name of an output: it must be one visible directory name of at "
            f"most {MAX_PART_BYTES} bytes, without {PARTIAL}, {LOCK} or {TEMPORARY} at its end."
        )
    return name


def is_path_part(name: str) -> bool:
    """Whether `path_part` accepts a name."""
    return (
        name.isprintable()
        and 0 < len(name.encode(errors="replace")) <= MAX_PART_BYTES
        and not name.startswith(".")
        and not set(name) & set("/\\")
        and not _reserved(name, RESERVED)
    )


def as_path_part(text: str) -> str:
    """Any text as a name of an output; other texts have other names. Text that can be a name is
    unchanged, but for `%`.

    Characters with a meaning in paths, and those that cannot be printed, are written as in URLs. Of
    a long text the beginning and a digest remain.
    """
    found = "".join(c if c.isprintable() and c not in "/\\%" else _escaped(c) for c in text)
    if found.startswith("."):
        found = f"%2E{found[1:]}"
    if ending := _reserved(found, RESERVED):
        found = f"{found.removesuffix(ending)}%2E{ending[1:]}"
    if len(found.encode()) > MAX_CHARS:
        beginning = found.encode()[: MAX_CHARS - 17].decode(errors="ignore")
        found = f"{beginning}-{digest_of(found)[:16]}"
    return found or "%"


def _fault(name: str, reserved: tuple[str, ...] = RESERVED) -> str | None:
    """Why a name is refused; None for one that is on the allow-list."""
    if ending := _reserved(name, reserved):
        return f"names that end in {ending} are used by the workspace itself. Choose another"
    if len(name) > MAX_CHARS or not _NAME.fullmatch(name):
        return (
            f"use 1 to {MAX_CHARS} of the letters A-Z and a-z, digits, '.', '_' and '-', the first "
            "a letter, a digit or '_'"
        )
    return None


def _reserved(name: str, endings: tuple[str, ...]) -> str | None:
    """The end of a name, as written there, that is one of `endings`; None where there is none."""
    found = next((e for e in endings if name.lower().endswith(e)), None)
    return name[-len(found) :] if found else None


def _escaped(char: str) -> str:
    """A character as in URLs, of at least one `%`."""
    return quote(char, safe="", errors="surrogatepass")


def _shown(name: str) -> str:
    """A name for a message: as Python writes it, cut where it is long."""
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
