"""References to secrets in settings, and their values out of the environment or a file.

`${NAME}` stands for the environment variable NAME, `${file:/PATH}` for the text of a file. Settings
keep the reference; only what is sent to a source has the value in its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.errors import ConfigError, reason

REFERENCE = re.compile(r"\$\{(file:[^{}]+|[A-Za-z_][A-Za-z0-9_]*)\}")
"""A reference inside of a text."""
WHOLE = re.compile(r"\$(?!\{)(.+)", re.DOTALL)
"""An argument that is a reference as a whole may do without braces."""
_FILE = r"\$\{file:[^{}]+\}"
LOGIN = re.compile(
    rf"([a-z][a-z0-9+.-]*://)((?:{_FILE}|[^/?#\s$]|\$(?!{_FILE[2:]}))*)@", re.IGNORECASE
)
"""The beginning of an address that has user info, its two groups (RFC 3986 section 3.2.1). The path
of a file of a secret may stand in it."""
_BARE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def references(value: Any) -> Iterator[str]:
    """Each reference in a setting, as it is written, at any depth of tables and lists."""
    if isinstance(value, str):
        if WHOLE.fullmatch(value):
            yield value
        else:
            yield from (found[0] for found in REFERENCE.finditer(value))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def resolve(reference: str, *, where: str, setting: str) -> str:
    """The value of a reference.

    where    whose setting it is, which begins an error
    setting  name of the setting

    Raises ConfigError for a variable that is not set or empty, and for a file that cannot be read
    or whose path is relative. The end of a file's last line is not part of its value.
    """
    name = reference.removeprefix("$").removeprefix("{").removesuffix("}")
    if not name.startswith("file:"):
        if value := os.environ.get(name):
            return value
        raise ConfigError(
            f"{where}: environment variable {name} is not set. Set it, or change `{setting}`."
        )
    path = Path(name.removeprefix("file:")).expanduser()
    try:
        if not path.is_absolute():
            raise OSError(0, "its path is not absolute")
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
        fault = "it is empty"
    except (OSError, UnicodeDecodeError) as error:
        value, fault = "", reason(error)
    if value:
        return value
    raise ConfigError(
        f"{where}: cannot read the secret in {path}: {fault}. Write it there, or change "
        f"`{setting}`."
    )


def spelled_out(address: str) -> str:
    """An address in which `$NAME`, as a user, password or value of a parameter, is `${NAME}`."""
    login = LOGIN.match(address)
    if login:
        parts = (_BARE.sub(r"${\1}", part) if _BARE.fullmatch(part) else part
                 for part in login[2].split(":", 1))  # fmt: skip
        address = f"{login[1]}{':'.join(parts)}{address[login.end() - 1 :]}"
    return re.sub(r"(?<==)\$([A-Za-z_][A-Za-z0-9_]*)(?=[&#]|$)", r"${\1}", address)


def without_login(address: str) -> str:
    """An address without its user info, so that a reference in that is not taken for a part of the
    host's name or of the path."""
    return LOGIN.sub(r"\1", address)


def fill(value: Any, values: Mapping[str, str]) -> Any:
    """A setting with the value of each reference in its place, at any depth.

    values  reference, as it is written -> value
    """
    if isinstance(value, str):
        if value in values:
            return values[value]
        return REFERENCE.sub(lambda found: values[found[0]], value)
    if isinstance(value, Mapping):
        return {name: fill(item, values) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(fill(item, values) for item in value)
    return value


def fill_address(address: str, values: Mapping[str, str]) -> str:
    """An address with the value of each reference in its place, percent-encoded in user info and
    behind the question mark, where other characters would end the value."""
    login = LOGIN.match(address)
    head = login.end() if login else 0
    query = address.find("?", head)
    query = len(address) if query < 0 else query
    encoded = {name: quote(value, safe="") for name, value in values.items()}
    parts = (address[:head], encoded), (address[head:query], values), (address[query:], encoded)
    return "".join(fill(part, of) for part, of in parts)
