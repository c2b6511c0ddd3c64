"""Which host a URL is at, and whether a crawler may connect to it.

Text from the network (a redirect, a link in a feed) must not make us send requests to machines in
our own network. Refused is every address that is not global by the IANA registries: private,
loopback, link-local, multicast, unspecified, shared, reserved, and IPv6 addresses that stand for
such an IPv4 address (mapped, 6to4, Teredo, NAT64 of RFC 6052). An operator may configure an address
in the own network; that allows its very origin (scheme, name and port), and nothing beside it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from infra.errors import AddressError
from infra.secrets.masks import public_link

Reach = Literal["any", "public"]
"""Which addresses a request may go to: `any` for an origin that the operator configured, `public`
for others."""

_PORTS = {"http": 80, "https": 443}
_LONG_VALUE = re.compile(r"(?<==)[^&#]{65,}")
"""The value of a parameter that is too long to be shown."""
_SHOWN_CHARS = 300
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only IPv6 addresses that IANA has given out to networks of the internet."""
_SPECIAL = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
"""IPv4 networks that some versions of Python count as global: those of protocols (RFC 6890) and of
relays for 6to4 (RFC 7526)."""


def host_of(url: str) -> str:
    """`name` or `name:port` of a URL's host in lower case, without a standard port (80, 443).

    It is the key that rate limits are kept by. Raises AddressError for text that is no http(s) URL.
    """
    parts = _split(url)
    name = (parts.hostname or "").rstrip(".")
    name = f"[{name}]" if ":" in name else name
    port = parts.port or _PORTS[parts.scheme]
    return name if port in _PORTS.values() else f"{name}:{port}"


def origin_of(url: str) -> str:
    """Scheme, host name and port of a URL, RFC 6454: in lower case, without the scheme's own port.

    Raises AddressError.
    """
    parts = _split(url)
    name = (parts.hostname or "").rstrip(".")
    name = f"[{name}]" if ":" in name else name
    own = parts.port in (None, _PORTS[parts.scheme])
    return f"{parts.scheme}://{name}{'' if own else f':{parts.port}'}"


def is_configured(url: str, configured: Iterable[str]) -> bool:
    """Whether a URL is at the origin of one of the configured URLs.

    A site that is configured by `http://NAME` may lead to `https://NAME`, as most do. Raises
    AddressError.
    """
    origins = {origin_of(one) for one in configured}
    secure = {f"https{one[4:]}" for one in origins if _is_plain(one)}
    return origin_of(url) in origins | secure


def shown(url: str) -> str:
    """An address as errors show it: without user info and values of parameters that have a secret's
    name; at most 300 characters, and `...` for a value that is longer than 64, which is a query or
    a list of ids."""
    short = _LONG_VALUE.sub("...", public_link(url))
    return short if len(short) <= _SHOWN_CHARS else f"{short[: _SHOWN_CHARS - 3]}..."


def is_loopback(url: str) -> bool:
    """Whether the URL's host is `localhost` or a loopback address. No name is resolved."""
    name = _split(url).hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def check(address: str, reach: Reach) -> None:
    """Raises AddressError if `reach` does not allow the numeric `address`."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    while isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if found in _NAT64:
            inner = IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is None:
            break
        found = inner
    if reach == "public" and not _is_public(found):
        raise AddressError(
            f"{address} is not a public address. Only a configured origin (scheme, host and port) "
            "may be on a private network: name it in the config if you trust it."
        )


def check_number(url: str, reach: Reach) -> None:
    """`check` for a URL whose host is a numeric address; names are checked by `resolve`."""
    try:
        ip_address((_split(url).hostname or "").partition("%")[0])
    except ValueError:
        return
    check(_split(url).hostname or "", reach)


def resolve(name: str, port: int, reach: Reach) -> list[str]:
    """The numeric addresses of a host name, in the order the system gives them.

    Raises AddressError if `reach` does not allow one of them, socket.gaierror for a name that has
    no address.
    """
    try:
        found = socket.getaddrinfo(name.strip("[]"), port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise AddressError(f"{name[:100]!r} is not a host's name. Check the address.") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        try:
            check(address, reach)
        except AddressError as error:
            raise AddressError(f"{name} resolves to {error}") from None
    return addresses


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address, which stands for no other, is one of the internet."""
    if isinstance(address, IPv6Address):
        return address.is_global and address in _GLOBAL_UNICAST
    special = any(address in network for network in _SPECIAL)
    return address.is_global and not address.is_multicast and not special


def _is_plain(origin: str) -> bool:
    """Whether an origin is one of http at the port of http."""
    parts = _split(origin)
    return parts.scheme == "http" and parts.port is None


def _split(url: str) -> SplitResult:
    """The parts of an http(s) URL. Raises AddressError for any other text, and for a URL that the
    HTTP library reads otherwise: it would connect to another host than the one that was checked."""
    with suppress(ValueError, LocationParseError):
        parts, sent = urlsplit(url), parse_url(url)
        name, sent_to = parts.hostname or "", (sent.host or "").strip("[]").lower()
        same = not name.isascii() or name.partition("%")[0] == sent_to.partition("%")[0]
        agreed = same and parts.port == sent.port and "\\" not in parts.netloc
        if parts.scheme in _PORTS and name and parts.port != 0 and agreed:
            return parts
    raise AddressError(f"{url[:200]!r} is not an http or https address. Check it.")
