"""Find what may be a secret in settings, links and messages, and put something in its place.

A name such as `token` makes its value a certain secret, and so does the place of user info in an
address. In settings that say how a source is reached, the value of any other name may be one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from infra.secrets.references import LOGIN, REFERENCE, WHOLE, without_login

HIDDEN = "***"
"""Stands for a secret."""

SettingKind = Literal["address", "query", "arguments"]
"""What a setting holds: an address or several; a text in SQL or SPARQL; arguments of a driver."""

_SECRET_NAME = re.compile(
    r"passw|passphrase|passcode|passwd|(?:^|[-_.])(?:pass|pw|key|sig|sid|pat|pin)$|pwd|secret|token"
    r"|credential|signature|auth(?!or)|session|cookie|bearer|jwt|api[-_]?key"
    r"|(?:private|access|shared|account)[-_]?key",
    re.IGNORECASE,
)
_PLAIN_ARGUMENT = re.compile(
    r"host\w*|server\w*|port|unix_socket|database|dbname|db|catalog|schema|warehouse|role|user\w*"
    r"|service|driver|region|account|project|dsn|conninfo|url|uri|http_path|path|file\w*|charset"
    r"|encoding|collation|timezone|\w*timeout\w*|ssl\w*|tls\w*|sql_mode|options|protocol|dialect"
    r"|application_name|program_name|autocommit|read_?only|isolation_level|keepalives\w*|config"
    r"|connect_args|target_session_attrs|access_mode|client_flag|cursor\w*",
    re.IGNORECASE,
)
"""Names of arguments that say where a database is and how it is talked to."""
_PARAMETER = re.compile(r"([?&#])(?:([^=&#]*)=)?([^&#]*)")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>`|]+", re.IGNORECASE)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_COMPARED = re.compile(r"([A-Za-z_]\w*)[\"`\]]?\s*(?::=|=>|=)\s*$")
_PAIR = re.compile(r"([\w-]+)(\s*=\s*)('[^']*'|[^\s;,&'\")]+)")
_SPOKEN = re.compile(
    r"\b(\w*(?:passw(?:or)?d|passphrase|pwd|secret|token|api[-_]?key))(\s*=\s*|['\"]\s*:\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s;,&'\"){}\]]+)",
    re.IGNORECASE,
)
_SPOKEN_LOGIN = re.compile(r"(?<![^\s'\"(=])[^\s'\"@:/(=]+:[^\s'\"@/]+@(?=[\w\[])")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a setting that may be a secret."""

    text: str
    certain: bool
    """Whether its name or its place says that it is one."""
    name: str = ""
    """Name of its parameter or argument; empty for user info."""


Hide = Callable[[Piece], str]
"""What is written in the place of a piece."""


def is_secret_name(name: str) -> bool:
    """Whether the value of a parameter or argument of this name is a secret."""
    return _SECRET_NAME.search(name) is not None


def shown(piece: Piece) -> str:
    """How a piece is written: what is no certain secret has a digest, so that two of them can be
    told apart."""
    digest = hashlib.sha256(piece.text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return HIDDEN if piece.certain else HIDDEN + digest


def identity(piece: Piece) -> str:
    """What of a piece belongs to the identity of a source: nothing of a certain secret."""
    return HIDDEN if piece.certain else piece.text


def rewrite(kind: SettingKind, value: Any, hide: Hide) -> Any:
    """A setting with something else in the place of each piece that may be a secret. References
    stay."""
    if value is None:
        return None
    if kind == "arguments":
        return _arguments(value, hide)
    if isinstance(value, list | tuple):
        return type(value)(rewrite(kind, item, hide) for item in value)
    return _query(value, hide) if kind == "query" else _address(value, hide, every=True)


def pieces(kind: SettingKind, value: Any) -> list[Piece]:
    """What may be a secret in a setting."""
    found: list[Piece] = []

    def keep(piece: Piece) -> str:
        found.append(piece)
        return HIDDEN

    rewrite(kind, value, keep)
    return found


def mask_setting(name: str, value: Any) -> Any:
    """A setting as an error shows it, whatever it should have been: without the secrets that names
    or places tell."""
    if isinstance(value, Mapping):
        return {key: mask_setting(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_setting(name, item) for item in value]
    if is_secret_name(name) and not isinstance(value, bool) and _is_literal(str(value)):
        return HIDDEN
    return _address(value, shown, every=True) if isinstance(value, str) else value


def public_link(url: str) -> str:
    """A link as it may be passed on: without user info, and without the values of parameters whose
    names are those of secrets."""
    return without_login(_address(url, shown, every=False))


def mask_message(text: str) -> str:
    """A message without user info of addresses, and without values that have the name of a
    secret."""

    def paired(found: re.Match[str]) -> str:
        return found[1] + found[2] + HIDDEN if _is_literal(found[3]) else found[0]

    text = _ADDRESS.sub(lambda found: _address(found[0], shown, every=False), text)
    return _SPOKEN_LOGIN.sub(f"{HIDDEN}@", _SPOKEN.sub(paired, text))


def _is_literal(text: str) -> bool:
    """Whether a text says something, and holds no reference."""
    bare = text.strip("'\"")
    named = REFERENCE.search(text) or bare.startswith("$")
    return bool(bare) and not named and not bare.startswith(HIDDEN)


def _address(address: str, hide: Hide, *, every: bool) -> str:
    """An address with its user info hidden, and the values of its parameters.

    every  whether those of any name; otherwise of the names of secrets
    """
    login = LOGIN.match(address)
    head = login.end() if login else 0
    if login:
        user, colon, password = login[2].partition(":")
        if _is_literal(password if colon else user):
            address = f"{login[1]}{hide(Piece(login[2], True))}{address[head - 1 :]}"
            head = address.index("@", len(login[1])) + 1
    begin = min((n for n in map(address.find, "?#") if n >= 0), default=len(address))

    def parameter(found: re.Match[str]) -> str:
        mark, name, value = found[1], found[2], found[3]
        certain = name is not None and is_secret_name(name)
        if not _is_literal(value) or not (certain or (every and mark != "#")):
            return found[0]
        hidden = hide(Piece(value, certain, name or ""))
        return f"{mark}{hidden}" if name is None else f"{mark}{name}={hidden}"

    return address[:begin] + _PARAMETER.sub(parameter, address[begin:])


def _query(text: str, hide: Hide) -> str:
    """A query with the secrets hidden in its addresses, connection strings and comparisons."""

    def pair(found: re.Match[str]) -> str:
        if not is_secret_name(found[1]) or not _is_literal(found[3]):
            return found[0]
        return f"{found[1]}{found[2]}{hide(Piece(found[3], True, found[1]))}"

    def literal(found: re.Match[str]) -> str:
        compared = _COMPARED.search(found.string[max(0, found.start() - 100) : found.start()])
        if compared and is_secret_name(compared[1]) and _is_literal(found[1]):
            return f"'{hide(Piece(found[1], False, compared[1]))}'"
        return f"'{_PAIR.sub(pair, found[1])}'"

    addressed = _ADDRESS.sub(lambda found: _address(found[0], hide, every=False), text)
    return _LITERAL.sub(literal, addressed)


def _arguments(value: Any, hide: Hide, name: str = "") -> Any:
    """Arguments with every text hidden that does not say where a database is."""
    if isinstance(value, Mapping):
        return {key: _arguments(item, hide, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_arguments(item, hide, name) for item in value)
    certain = is_secret_name(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and certain:
        return hide(Piece(str(value), True, name))
    if not isinstance(value, str) or WHOLE.fullmatch(value) or not _is_literal(value):
        return value
    if not certain and (_PLAIN_ARGUMENT.fullmatch(name) or not name):
        return _query(f"'{value}'", hide)[1:-1]
    return hide(Piece(value, certain, name))
