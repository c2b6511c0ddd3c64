"""Where a redirect must not lead: addresses that only this machine or its network can reach."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from infra.errors import SourceError

SCHEMES = ("http", "https")


def check_target(source: str, origin: str, target: str) -> None:
    """Whether a crawl of `origin` may be redirected to `target`: an http or https URL whose host
    has public addresses alone, by every name it resolves to. What is configured on this machine
    itself may lead on to this machine.

    Raises SourceError. A name is looked up again when it is connected to, so one whose addresses
    change in between is not caught.
    """
    parts = urlsplit(target)
    where = f"source {source}: {origin} redirects to {target}, which"
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise SourceError(f"{where} is no http or https address. Check the address.")
    found = _addresses(parts.hostname)
    if not found:
        raise SourceError(f"{where} has no address. Check the address.")
    at_home = all(address.is_loopback for address in _addresses(urlsplit(origin).hostname or ""))
    for address in found:
        if not (address.is_global or (at_home and address.is_loopback)) or address.is_multicast:
            raise SourceError(
                f"{where} is inside a private network ({address}). If that is meant, set it as the "
                "address of the source."
            )


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """All addresses of a host; IPv4 inside IPv6 as IPv4."""
    try:
        infos = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return []
    found = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]
    return [getattr(address, "ipv4_mapped", None) or address for address in found]
